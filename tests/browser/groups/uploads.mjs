// Large bodies across an expiry. Refreshing happens before the handler and never touches the body.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { expectStatus, inProfile, openClient, signIn } from "../lib/browser.mjs";
import { sleep } from "../lib/checks.mjs";
import { startLab } from "../lib/servers.mjs";

const ACCESS_MS = 2_000;
const MEBIBYTES = 20;
const TITLE = "a pot";

export default async function uploads(checks, browser) {
  const server = await startLab({ ACCESS_SECS: "2", GRACE_SECS: "1" });
  const check = (sentence, body) =>
    checks.check(`a 20 MiB multipart upload ${sentence}`, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, "fetch.html");
        await signIn(page);
        const before = await expectStatus(page, 200, "GET", "/api/me");
        const counted = await server.counters();
        const { sent, answer } = await body(page, context);
        assert.equal(answer.status, 200, JSON.stringify(answer));
        assert.deepEqual(answer.body.parts, [
          { name: "title", length: TITLE.length, sha256: createHash("sha256").update(TITLE).digest("hex") },
          { name: "file", length: MEBIBYTES * 1024 * 1024, sha256: sent },
        ]);
        const after = await server.counters();
        for (const name of ["uploads", "whole uploads"]) assert.equal(after(name) - counted(name), 1, name);
        const me = await expectStatus(page, 200, "GET", "/api/me");
        assert.equal(me.session, before.session);
        assert.ok(me.generation > before.generation, "rotated");
      }),
    );

  await check("sent after an expiry arrives complete and once", async (page) => {
    await sleep(ACCESS_MS + 200);
    return upload(page);
  });

  await check("during which the token expires arrives complete and once", async (page, context) => {
    const devtools = await context.newCDPSession(page);
    const slow = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 6 * 1024 * 1024 };
    await devtools.send("Network.emulateNetworkConditions", slow);
    const started = performance.now();
    const result = await upload(page);
    assert.ok(performance.now() - started > ACCESS_MS, "it took longer than the token lived");
    return result;
  });
  server.stop();
}

/** Uploads random bytes, hashed in the browser before they are sent. */
const upload = (page) =>
  page.evaluate(async ([mebibytes, title]) => {
    const bytes = new Uint8Array(mebibytes * 1024 * 1024);
    for (let at = 0; at < bytes.length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const sent = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const body = new FormData();
    body.append("title", title);
    body.append("file", new Blob([bytes]), "pot.bin");
    const token = document.cookie.match(/XSRF-TOKEN=([^;]*)/)[1];
    const answer = await fetch("/api/upload", { method: "POST", headers: { "X-XSRF-TOKEN": token }, body });
    return { sent, answer: { status: answer.status, body: await answer.json() } };
  }, [MEBIBYTES, TITLE]);
