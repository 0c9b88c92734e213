// From sign-in to sign-out.

import assert from "node:assert/strict";
import { expectStatus, jar, openClient, signIn } from "../../lib/browser.mjs";
import { until } from "../../lib/checks.mjs";
import { isAccepted, isDevice, isProof, isQuestion, isRefresh, isRegistration } from "../../lib/front.mjs";
import { boundOnce, expire, registered, startShop } from "../../lib/shop.mjs";

const TABS = 5;
const EXPIRIES = 3;

export default async function binding(checks, context, fact) {
  const shop = await startShop("loop");
  const { front } = shop;
  const pages = [await openClient(context, shop, "fetch.html")];

  await checks.check("a sign-in is bound with the first request after the registration", async () => {
    await signIn(pages[0]);
    await registered(shop);
    const since = front.since();
    assert.equal((await expectStatus(pages[0], 200, "GET", "/api/me")).bound, true);
    await boundOnce(shop);
    assert.deepEqual(since(isProof).map(({ status }) => status), [200]);
    const [sent] = since(({ path }) => path === "/api/me");
    assert.ok(sent.cookies.includes("__Host-access"), "the request came with the cookie of the proof");
    fact("the first request is held until the proof has been answered, and no challenge is asked for", () => {
      assert.deepEqual(since(isQuestion), []);
      assert.deepEqual(since().map(({ path }) => path), ["/api/device", "/api/me"]);
    });
    fact("the proofs of Chromium are bare strings", () => {
      assert.match(front.seen.find(isRegistration).proof, /^[\w-]+\.[\w-]+\.[\w-]+$/);
      assert.match(since(isProof)[0].proof, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    });
  });

  await checks.check(`${TABS} tabs go through ${EXPIRIES} expiries by proofs alone, without a rotation`, async () => {
    while (pages.length < TABS) pages.push(await openClient(context, shop, "fetch.html"));
    const before = await expectStatus(pages[0], 200, "GET", "/api/me");
    const since = front.since();
    const working = Promise.all(pages.map((page, n) => work(page, 10 + 15 * n)));
    for (let n = 1; n <= EXPIRIES; n += 1) {
      await expire(pages[0]);
      await until("a proof", () => since(isAccepted).length >= n);
      const access = async () => "__Host-access" in (await jar(context, shop.origin));
      await until("the new cookie", access);
      const start = front.seen.length;
      await until("requests of all tabs", () => front.seen.length > start + 3 * TABS);
    }
    await Promise.all(pages.map((page) => page.evaluate(() => void (window.done = true))));
    const statuses = await working;
    assert.deepEqual([...new Set(statuses.flat())], [200], JSON.stringify(statuses));
    assert.ok(statuses.every((tab) => tab.length > EXPIRIES), "every tab has worked");
    assert.ok(since(isAccepted).length >= EXPIRIES);
    const after = await expectStatus(pages[0], 200, "GET", "/api/me");
    assert.deepEqual(after, before, "the same session, bound, and in the same generation");
    await boundOnce(shop);
    fact("however many tabs wait, one asks for a challenge and proves", () =>
      assert.deepEqual(since(isRefresh).map(({ status }) => status), Array(EXPIRIES).fill([403, 200]).flat()),
    );
  });

  await checks.check("a sign-out ends the session in every tab, and the browser's after one request", async () => {
    await expectStatus(pages[0], 204, "POST", "/api/logout");
    assert.deepEqual(Object.keys(await jar(context, shop.origin)), []);
    const since = front.since();
    await Promise.all(pages.map((page) => expectStatus(page, 401, "GET", "/api/me")));
    await expectStatus(pages[0], 401, "GET", "/api/me");
    assert.ok(since(isDevice).every(({ status }) => status === 401));
    fact("the browser forgets its session with the first 401", () => assert.equal(since(isDevice).length, 1));
  });

  await Promise.all(pages.map((page) => page.close()));
  shop.stop();
}

/** Lets a tab read and write until it is done, and resolves to the statuses of the answers. */
const work = (page, pace) =>
  page.evaluate(async (pace) => {
    const statuses = [];
    for (let n = 0; !window.done; n += 1) {
      const answer = await (n % 2 ? window.client.send("POST", "/api/write", {}) : window.client.send("GET", "/api/read"));
      statuses.push(answer.status);
      await new Promise((resolve) => setTimeout(resolve, pace));
    }
    return statuses;
  }, pace);
