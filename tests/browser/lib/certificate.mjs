// A certificate for every server of these tests that speaks TLS.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Writes a key and a certificate of its own to `folder`, and returns their paths. */
export function writeCertificate(folder) {
  const [certificate, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example"];
  execFileSync("openssl", [...request, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  return { certificate, key };
}

let made;

/**
 * Returns the key, the certificate, and the pin by which a browser takes it for valid. Where errors of a certificate are
 * merely ignored, Chromium binds no session.
 */
export function certificate() {
  made ??= make();
  return made;
}

function make() {
  const folder = mkdtempSync(join(tmpdir(), "browser-tests-tls-"));
  try {
    const paths = writeCertificate(folder);
    const [key, cert] = [readFileSync(paths.key), readFileSync(paths.certificate)];
    const publicKey = new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" });
    return { key, cert, pin: createHash("sha256").update(publicKey).digest("base64") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
