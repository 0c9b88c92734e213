// nginx with TLS on loopback, with the configuration of the recipe.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeCertificate } from "./certificate.mjs";
import { until } from "./checks.mjs";
import { codeBlocks } from "./recipes.mjs";

const binary = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].find(existsSync);

/** Starts nginx in front of the server on the port `upstream`. `change` edits the documented configuration. */
export async function startNginx(upstream, change = (config) => config) {
  if (!binary) throw new Error("nginx is missing: install the package nginx-light");
  const folder = mkdtempSync(join(tmpdir(), "browser-tests-nginx-"));
  const port = await freePort();
  const { certificate, key } = writeCertificate(folder);
  const replace = (text, from, to) => {
    if (!text.includes(from)) throw new Error(`the recipe's configuration no longer contains \`${from}\``);
    return text.replace(from, to);
  };
  let server = codeBlocks().nginx;
  server = replace(server, "listen 443 ", `listen 127.0.0.1:${port} `);
  server = replace(server, "/etc/ssl/shop.example.pem", certificate);
  server = replace(server, "/etc/ssl/shop.example.key", key);
  server = replace(server, "127.0.0.1:3000", `127.0.0.1:${upstream}`);
  const own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`);
  const config = `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr crit;
events {}
http { access_log off; ${own.join(" ")}
${change(server)} }`;
  writeFileSync(join(folder, "nginx.conf"), config);
  const child = spawn(binary, ["-p", folder, "-e", "stderr", "-c", join(folder, "nginx.conf")], { stdio: ["ignore", "ignore", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  process.once("exit", () => child.kill());
  await until("nginx to listen", () => child.exitCode !== null || reachable(port));
  if (child.exitCode !== null) throw new Error("nginx rejected the recipe's configuration");
  return {
    port,
    origin: `https://shop.example:${port}`,
    async stop() {
      child.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const reachable = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket.destroy() && true));
    socket.once("error", () => resolve(false));
  });
