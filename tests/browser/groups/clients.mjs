// Common clients, unmodified and set up as their documentation describes.

import assert from "node:assert/strict";
import { expectStatus, inProfile, openClient, rotatedOnce, send, signIn, jar } from "../lib/browser.mjs";
import { sleep } from "../lib/checks.mjs";
import { startLab } from "../lib/servers.mjs";

const ACCESS_MS = 2_000;
/** The grace period must exceed the delay that a busy machine and the browser's queue add to a request. */
const QUICK = { ACCESS_SECS: "2", GRACE_SECS: "2" };

/** `overwrites`: a cookie with the default name takes precedence over the value set by the application. */
const CLIENTS = [
  { name: "fetch", file: "fetch.html", overwrites: false },
  { name: "axios", file: "axios.html", overwrites: true },
  { name: "AngularJS", file: "angularjs.html", overwrites: true },
  { name: "Angular", file: "angular/index.html", overwrites: false },
];

/** Where the client gets the XSRF token from. */
const SOURCES = [
  { name: "the token from the cookie", environment: {}, keep: false },
  { name: "the token from the body", environment: { XSRF_COOKIE: "0" }, keep: true },
];

export default async function clients(checks, browser) {
  // The clients of one source run concurrently, because they mostly wait for tokens to expire. Running all at once
  // would overload two cores.
  for (const source of SOURCES) {
    const server = await startLab({ ...QUICK, ...source.environment });
    await Promise.all(CLIENTS.map((client) => ordinaryLife(checks, browser, server, client, source)));
    server.stop();
  }
  const server = await startLab();
  for (const client of CLIENTS) await staleCookie(checks, browser, server, client);
  server.stop();
}

async function ordinaryLife(checks, browser, server, client, source) {
  const check = (sentence, body) =>
    checks.check(`${client.name}, ${source.name}: ${sentence}`, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, client.file);
        await enter(page, source);
        await body(page, context);
      }),
    );

  await check("signs in, reads, writes and signs out", async (page, context) => {
    if (!source.keep) checks.note(`${client.name} ${await page.evaluate(() => window.client.version)}`);
    const names = Object.keys(await jar(context, server.origin));
    assert.equal(names.includes("XSRF-TOKEN"), !source.keep, "the cookie is there as configured");
    assert.equal((await expectStatus(page, 200, "GET", "/api/me")).sub, "ada");
    assert.equal((await expectStatus(page, 200, "GET", "/api/read")).read, "ada");
    for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
      assert.equal((await expectStatus(page, 200, method, "/api/write", {})).written, "ada", method);
    }
    await expectStatus(page, 204, "POST", "/api/logout");
    const refused = await expectStatus(page, 401, "POST", "/api/write", {});
    assert.equal(refused.code, "token_missing");
  });

  await check("a write without the token is refused, which shows that the client sends it otherwise", async (page, context) => {
    await page.evaluate(() => sessionStorage.clear());
    await context.clearCookies({ name: "XSRF-TOKEN" });
    const refused = await expectStatus(page, 403, "POST", "/api/write", {});
    assert.equal(refused.code, "xsrf_missing");
  });

  await check("reads after an expiry, and then writes with the same token", async (page) => {
    const before = await me(page);
    await sleep(ACCESS_MS + 200);
    const expired = performance.now();
    await expectStatus(page, 200, "GET", "/api/read");
    await expectStatus(page, 200, "POST", "/api/write", {});
    rotatedOnce(before, await me(page), expired, ACCESS_MS);
  });

  await check("writes across an expiry, with a write as the first request", async (page) => {
    const before = await me(page);
    await sleep(ACCESS_MS + 200);
    const expired = performance.now();
    await expectStatus(page, 200, "POST", "/api/write", {});
    rotatedOnce(before, await me(page), expired, ACCESS_MS);
  });

  await check("twenty concurrent requests across an expiry all succeed, with one rotation", async (page) => {
    const before = await me(page);
    await sleep(ACCESS_MS + 200);
    const expired = performance.now();
    const answers = await page.evaluate(() =>
      Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          n % 2 ? window.client.send("POST", "/api/write", { n }) : window.client.send("GET", "/api/read"),
        ),
      ),
    );
    assert.deepEqual([...new Set(answers.map(({ status, body }) => body?.code ?? status))], [200]);
    rotatedOnce(before, await me(page), expired, ACCESS_MS);
  });

  await check("no request in a stream across three expiries fails", async (page) => {
    const before = await me(page);
    const statuses = await page.evaluate(async (milliseconds) => {
      const end = performance.now() + milliseconds;
      const sent = [];
      // A busy machine takes longer for the same number of requests.
      for (let n = 0; performance.now() < end || n <= 20; n += 1) {
        sent.push(n % 2 ? window.client.send("POST", "/api/write", { n }) : window.client.send("GET", "/api/read"));
        await new Promise((resolve) => setTimeout(resolve, 80));
        // A seventh concurrent request would wait for a connection after its cookies have been chosen, perhaps for
        // longer than the grace period, which no server can distinguish from theft (see `with_grace_period`).
        await sent[n - 5];
      }
      return (await Promise.all(sent)).map(({ status, body }) => body?.code ?? status);
    }, 3 * ACCESS_MS + 1_500);
    assert.deepEqual([...new Set(statuses)], [200]);
    assert.ok(statuses.length > 20, `only ${statuses.length} requests`);
    const after = await me(page);
    assert.equal(after.session, before.session);
    assert.ok(after.generation > before.generation, `generation ${after.generation}`);
  });
}

/** Checks a cookie left by an earlier session or tossed by a sibling host, next to a valid value from the body. */
async function staleCookie(checks, browser, server, client) {
  const outcome = client.overwrites
    ? "overrides the valid value, and the write is refused with 403"
    : "is ignored in favour of the valid value, and the write succeeds";
  await checks.check(`${client.name}: a stale XSRF-TOKEN cookie ${outcome}`, () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, client.file);
      await enter(page, { keep: true });
      const stale = { name: "XSRF-TOKEN", value: "A".repeat(24), url: server.origin };
      await context.addCookies([stale]);
      const answer = await send(page, "POST", "/api/write", {});
      if (!client.overwrites) return assert.equal(answer.status, 200);
      assert.deepEqual([answer.status, answer.body.code], [403, "xsrf_mismatch"]);
      // The session is unaffected: without the stale cookie, the same value is accepted.
      await context.clearCookies({ name: "XSRF-TOKEN" });
      await expectStatus(page, 200, "POST", "/api/write", {});
    }),
  );
}

async function enter(page, { keep }) {
  const { xsrfToken } = await signIn(page);
  assert.equal(xsrfToken.length, 24);
  if (keep) await page.evaluate((token) => sessionStorage.setItem("xsrfToken", token), xsrfToken);
}

const me = (page) => expectStatus(page, 200, "GET", "/api/me");
