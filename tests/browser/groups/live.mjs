// WebSocket and EventSource on the application's own origin. Script cannot set headers on them.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { expectStatus, inProfile, openClient, signIn } from "../lib/browser.mjs";
import { sleep, until } from "../lib/checks.mjs";
import { startLab } from "../lib/servers.mjs";

export default async function live(checks, browser) {
  const server = await startLab({ ACCESS_SECS: "1", GRACE_SECS: "1" });
  const check = (sentence, body) =>
    checks.check(sentence, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, "fetch.html");
        await body(page);
      }),
    );

  await check("a same-origin WebSocket opens for a signed-in user, and echoes", async (page) => {
    await signIn(page);
    assert.deepEqual(await talk(page), ["hello ada", "one", "two"]);
  });

  await check("a WebSocket opens even with an expired access token, and stays open past an expiry", async (page) => {
    await signIn(page);
    await expectStatus(page, 200, "GET", "/api/me");
    await sleep(1_200);
    assert.deepEqual(await talk(page, 1_200), ["hello ada", "one", "two"]);
    await expectStatus(page, 200, "GET", "/api/me");
  });

  await check("a same-origin EventSource streams to a signed-in user", async (page) => {
    await signIn(page);
    assert.deepEqual(await listen(page), ["1", "2", "3", "4", "5"]);
  });

  await check("an EventSource reconnects across an expiry", async (page) => {
    await signIn(page);
    await expectStatus(page, 200, "GET", "/api/me");
    await sleep(1_200);
    assert.deepEqual(await listen(page, 10), ["1", "2", "3", "4", "5", "1", "2", "3", "4", "5"]);
  });

  await check("after sign-out, both are refused and their handlers do not run", async (page) => {
    await signIn(page);
    await expectStatus(page, 204, "POST", "/api/logout");
    const before = await server.counters();
    assert.deepEqual(await talk(page), ["refused"]);
    assert.deepEqual(await listen(page), ["refused"]);
    const after = await server.counters();
    for (const name of ["sockets", "streams"]) assert.equal(after(name), before(name), name);
    const last = (await server.requests()).filter(({ path }) => /socket|events/.test(path)).slice(-2);
    assert.deepEqual(last.map(({ status, code }) => [status, code]), [[401, "token_missing"], [401, "token_missing"]]);
  });
  server.stop();
  await waiting(checks, browser);
}

/** Shows why the grace period must exceed the time in the browser's queue: see `SessionsBuilder::with_grace_period`. */
async function waiting(checks, browser) {
  const held = [];
  const heard = [];
  const server = createServer((request, response) => {
    if (request.url === "/hold") return held.push(response);
    if (request.url === "/late") heard.push(request.headers.cookie);
    response.end("<!doctype html><title>six</title>");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  await checks.check("a request that waits for one of six connections carries the cookies from when it was made", () =>
    inProfile(browser, async (context) => {
      const page = await context.newPage();
      await page.goto(`http://localhost:${server.address().port}/`);
      await page.evaluate(() => {
        document.cookie = "value=old";
        for (let n = 0; n < 6; n += 1) fetch("/hold", { cache: "no-store" });
      });
      await until("six held connections", () => held.length === 6);
      // Another host has separate connections. Its response shows that the browser has processed the earlier
      // requests.
      const other = `http://127.0.0.1:${server.address().port}/other`;
      await page.evaluate((other) => {
        void fetch("/late");
        return fetch(other, { mode: "no-cors" });
      }, other);
      await page.evaluate(() => void (document.cookie = "value=new"));
      held.shift().end();
      await until("the late request", () => heard.length > 0);
      assert.deepEqual(heard, ["value=old"]);
      for (const response of held) response.end();
    }),
  );
  server.close();
}

/** Returns what a WebSocket responds to two messages, the second sent after `pause`; `refused` if it never opened. */
const talk = (page, pause = 0) =>
  page.evaluate(
    (pause) =>
      new Promise((resolve) => {
        const heard = [];
        const socket = new WebSocket(`ws://${location.host}/api/socket`);
        socket.onopen = () => {
          socket.send("one");
          setTimeout(() => socket.send("two"), pause);
        };
        socket.onmessage = ({ data }) => heard.push(data) === 3 && resolve(socket.close() ?? heard);
        socket.onerror = () => resolve([...heard, "refused"]);
      }),
    pause,
  );

/** Returns `count` events, received over as many connections as necessary; `refused` if the EventSource gave up. */
const listen = (page, count = 5) =>
  page.evaluate(
    (count) =>
      new Promise((resolve) => {
        const heard = [];
        const source = new EventSource("/api/events");
        source.onmessage = ({ data }) => heard.push(data) === count && resolve(source.close() ?? heard);
        source.onerror = () => source.readyState === EventSource.CLOSED && resolve([...heard, "refused"]);
      }),
    count,
  );
