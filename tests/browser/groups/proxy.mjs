// Behind nginx with TLS, with the configuration of the recipe and a public host name.

import assert from "node:assert/strict";
import { request } from "node:https";
import { close, expectStatus, inProfile, jar, launch, openClient, rotatedOnce, signIn } from "../lib/browser.mjs";
import { sleep } from "../lib/checks.mjs";
import { startNginx } from "../lib/nginx.mjs";
import { startLab, startSpa } from "../lib/servers.mjs";

const ACCESS_MS = 2_000;
const QUICK = { ACCESS_SECS: "2", GRACE_SECS: "1", LEEWAY_SECS: "0" };

export default async function proxy(checks) {
  const browser = await launch(["--host-resolver-rules=MAP shop.example 127.0.0.1"]);
  const server = await startLab(QUICK);
  const nginx = await startNginx(server.port);
  const check = (sentence, front, body) =>
    checks.check(`behind nginx: ${sentence}`, () =>
      inProfile(browser, async (context) => body(await openClient(context, front, "fetch.html"), context), {
        ignoreHTTPSErrors: true,
      }),
    );

  await check("signs in, orders, and orders across an expiry, with __Host- cookies over HTTP/2", nginx, async (page, context) => {
    await signIn(page);
    const cookies = await jar(context, nginx.origin);
    assert.deepEqual([cookies["__Host-access"].secure, cookies["__Host-refresh"].sameSite], [true, "Strict"]);
    await expectStatus(page, 200, "POST", "/api/write", {});
    const before = await expectStatus(page, 200, "GET", "/api/me");
    await sleep(ACCESS_MS + 200);
    const expired = performance.now();
    await expectStatus(page, 200, "POST", "/api/write", {});
    rotatedOnce(before, await expectStatus(page, 200, "GET", "/api/me"), expired, ACCESS_MS);
    const protocol = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
    assert.equal(protocol, "h2");
  });

  await check("a WebSocket opens, and echoes", nginx, async (page) => {
    await signIn(page);
    assert.equal(await talk(page), "hello ada");
  });

  const long = "a".repeat(2_600);
  await check("cookies near the limit of 4096 bytes pass in both directions", nginx, async (page, context) => {
    await signIn(page, long);
    const cookies = await jar(context, nginx.origin);
    checks.note(`behind nginx: an access cookie of ${cookies["__Host-access"].value.length} characters`);
    assert.ok(cookies["__Host-access"].value.length > 3_500);
    assert.equal((await expectStatus(page, 200, "POST", "/api/write", {})).written, long);
    const line = Object.values(cookies).map(({ name, value }) => `${name}=${value}`).join("; ");
    const crowded = `${line}; other=${"x".repeat(9_000 - line.length)}`;
    assert.equal(await overHttp1(nginx, crowded), 200);
    const narrow = await startNginx(server.port, (config) => config.replace("large_client_header_buffers 4 16k;", ""));
    assert.equal(await overHttp1(narrow, crowded), 400, "without the recipe's line");
    await narrow.stop();
  });
  await nginx.stop();

  // The effects of omitting single lines, as documented in the recipe's table.
  const rewriting = await startNginx(server.port, (config) => config.replace("proxy_set_header Host $http_host;", ""));
  await check("if Host is rewritten, fetch works and a WebSocket is refused", rewriting, async (page) => {
    await signIn(page);
    await expectStatus(page, 200, "POST", "/api/write", {});
    assert.equal(await talk(page), "refused");
  });
  await rewriting.stop();

  const small = await startNginx(server.port, (config) => config.replace("proxy_buffer_size 16k;", ""));
  await check("without a larger proxy_buffer_size, a sign-in with large cookies fails with 502", small, async (page) => {
    const status = await page.evaluate(
      async (user) => (await fetch("/api/login", { method: "POST", body: JSON.stringify({ user }) })).status,
      long,
    );
    assert.equal(status, 502);
  });
  await small.stop();
  server.stop();

  const spa = await startSpa(QUICK);
  const front = await startNginx(spa.port);
  await checks.check("behind nginx: the spa example signs in, orders and rotates", () =>
    inProfile(browser, (context) => shop(context, front), { ignoreHTTPSErrors: true }),
  );
  await front.stop();
  spa.stop();
  await close(browser);
}

async function shop(context, front) {
  const page = await context.newPage();
  await page.goto(front.origin);
  const post = (path, body) =>
    page.evaluate(
      async ([path, body]) => {
        const token = document.cookie.match(/XSRF-TOKEN=([^;]*)/)?.[1];
        const headers = { "Content-Type": "application/json", ...(token && { "X-XSRF-TOKEN": token }) };
        return (await fetch(path, { method: "POST", headers, body: JSON.stringify(body) })).status;
      },
      [path, body],
    );
  assert.equal(await post("/api/login", { username: "ada", password: "correct horse battery staple" }), 200);
  const before = (await jar(context, front.origin))["__Host-refresh"].value;
  assert.equal(await post("/api/orders", { item: "tea" }), 201);
  await sleep(ACCESS_MS + 200);
  assert.equal(await post("/api/orders", { item: "tea" }), 201);
  assert.notEqual((await jar(context, front.origin))["__Host-refresh"].value, before, "rotated");
}

/** Returns the status of `GET /api/me` with all cookies in one header line, as in HTTP/1.1. */
const overHttp1 = (front, cookie) =>
  new Promise((resolve, reject) => {
    const headers = { Host: new URL(front.origin).host, Cookie: cookie };
    const options = { host: "127.0.0.1", port: front.port, path: "/api/me", headers, rejectUnauthorized: false };
    request(options, (answer) => resolve(answer.resume().statusCode)).once("error", reject).end();
  });

/** Returns the first message of a WebSocket; `refused` if it never opened. */
const talk = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        const socket = new WebSocket(`wss://${location.host}/api/socket`);
        socket.onmessage = ({ data }) => resolve(data);
        socket.onerror = () => resolve("refused");
      }),
  );
