// Several tabs of one profile, with access tokens that live for two seconds.

import assert from "node:assert/strict";
import { request } from "node:http";
import { expectStatus, inProfile, jar, openClient, signIn } from "../lib/browser.mjs";
import { sleep, until } from "../lib/checks.mjs";
import { startLab } from "../lib/servers.mjs";

const ACCESS_MS = 2_000;
const ROTATIONS = 4;

export default async function tabs(checks, browser) {
  const server = await startLab({ ACCESS_SECS: "2", GRACE_SECS: "1" });
  await Promise.all([2, 5].map((count) => together(checks, browser, server, count)));
  await Promise.all([
    lostResponse(checks, browser, server, "GET", "/api/read"),
    lostResponse(checks, browser, server, "POST", "/api/write"),
    lostForLong(checks, browser, server),
    reloads(checks, browser, server),
  ]);
  server.stop();
}

/** Lets every tab read and write continuously, each at its own pace. */
const together = (checks, browser, server, count) =>
  checks.check(`${count} tabs go through ${ROTATIONS} rotations, and no tab is signed out`, () =>
    inProfile(browser, async (context) => {
      const pages = [];
      for (let n = 0; n < count; n += 1) pages.push(await openClient(context, server, "fetch.html"));
      await signIn(pages[0]);
      const started = performance.now();
      const before = await me(pages[0]);
      const work = (page, pace) =>
        page.evaluate(
          async (pace) => {
            const statuses = [];
            for (let n = 0; !window.done; n += 1) {
              const answer = await (n % 2
                ? window.client.send("POST", "/api/write", {})
                : window.client.send("GET", "/api/read"));
              statuses.push(answer.status);
              await new Promise((resolve) => setTimeout(resolve, pace));
            }
            return statuses;
          },
          pace,
        );
      const working = Promise.all(pages.map((page, n) => work(page, 20 + 35 * n)));
      const enough = async () => (await me(pages[0])).generation >= before.generation + ROTATIONS;
      await until(`${ROTATIONS} rotations`, enough, 60_000);
      await Promise.all(pages.map((page) => page.evaluate(() => void (window.done = true))));
      const statuses = await working;
      assert.deepEqual([...new Set(statuses.flat())], [200], JSON.stringify(statuses.map((tab) => tab.length)));
      for (const page of pages) {
        const after = await me(page);
        assert.equal(after.session, before.session);
        assert.ok(after.generation >= before.generation + ROTATIONS, `generation ${after.generation}`);
        // A forked session would have been rotated more often than its tokens expire.
        const most = Math.ceil((performance.now() - started) / ACCESS_MS);
        assert.ok(after.generation <= before.generation + most, `generation ${after.generation}, at most ${most}`);
      }
      await sleep(ACCESS_MS + 200);
      await Promise.all(pages.map((page) => expectStatus(page, 200, "GET", "/api/read")));
    }),
  );

/** The server rotates and responds, but the response with the new cookies never reaches the browser. */
const lostResponse = (checks, browser, server, method, path) =>
  checks.check(`the response to a rotating ${method} is lost: the tab retries and continues`, () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, "fetch.html");
      await signIn(page);
      const before = await me(page);
      await sleep(ACCESS_MS + 200);
      const lost = await loseNext(context, page, path);
      const outcome = await page.evaluate(
        ([method, path]) => window.client.send(method, path).then(() => "answered", () => "failed"),
        [method, path],
      );
      assert.equal(outcome, "failed");
      assert.deepEqual([lost.status, lost.setCookies], [200, true], "the server did rotate");
      await expectStatus(page, 200, method, path);
      const after = await me(page);
      assert.deepEqual([after.session, after.generation], [before.session, before.generation + 1]);
      await sleep(ACCESS_MS + 200);
      await expectStatus(page, 200, method, path);
      assert.equal((await me(page)).session, before.session);
    }),
  );

const lostForLong = (checks, browser, server) =>
  checks.check("a lost response can be requested again long after the grace period", () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, "fetch.html");
      await signIn(page);
      const before = await me(page);
      await sleep(ACCESS_MS + 200);
      await loseNext(context, page, "/api/read");
      await page.evaluate(() => window.client.send("GET", "/api/read").catch(() => {}));
      await sleep(2 * ACCESS_MS);
      await expectStatus(page, 200, "GET", "/api/read");
      const after = await me(page);
      // The lost response began one generation, and the late one another: its predecessor may be all the browser has.
      assert.deepEqual([after.session, after.generation], [before.session, before.generation + 2]);
    }),
  );

/** A reload aborts requests at arbitrary points. */
const reloads = (checks, browser, server) =>
  checks.check("twenty reloads in the middle of requests do not sign the user out", () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, "fetch.html");
      await signIn(page);
      const before = await me(page);
      for (let n = 0; n < 20; n += 1) {
        await page.evaluate(() => {
          for (let n = 0; n < 4; n += 1) window.client.send("GET", "/api/read").catch(() => {});
        });
        await sleep((n % 5) * 40);
        await page.reload();
        await page.waitForFunction(() => window.client);
        if (n % 7 === 6) await sleep(ACCESS_MS);
      }
      const after = await me(page);
      assert.equal(after.session, before.session);
      assert.ok(after.generation > before.generation, "there were rotations");
      assert.equal(Object.keys(await jar(context, server.origin)).length, 3);
    }),
  );

/**
 * Lets the next request for `path` reach the server, and drops the response.
 *
 * `route.fetch` would store the cookies of the response, as if the browser had received it. The request is therefore
 * sent from this process, exactly as the browser would have sent it.
 */
async function loseNext(context, page, path) {
  const lost = {};
  await page.route(
    (url) => url.pathname === path,
    async (route) => {
      const asked = route.request();
      const headers = await asked.allHeaders();
      const cookies = await context.cookies(asked.url());
      headers.cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
      headers["sec-fetch-site"] = "same-origin";
      for (const name of Object.keys(headers)) if (name.startsWith(":")) delete headers[name];
      const answer = await raw(asked.method(), asked.url(), headers);
      lost.status = answer.statusCode;
      lost.setCookies = (answer.headers["set-cookie"] ?? []).length > 0;
      await route.abort("connectionreset");
    },
    { times: 1 },
  );
  return lost;
}

const me = (page) => expectStatus(page, 200, "GET", "/api/me");

function raw(method, url, headers) {
  const { hostname, port, pathname } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({ method, hostname, port, path: pathname, headers, family: 4 }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer));
    });
    sent.on("error", reject);
    sent.end();
  });
}
