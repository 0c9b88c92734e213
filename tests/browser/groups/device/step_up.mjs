// Routes that need a binding, and a proof that is not old.

import assert from "node:assert/strict";
import { expectStatus, openClient, signIn } from "../../lib/browser.mjs";
import { sleep } from "../../lib/checks.mjs";
import { isAccepted, isRefresh, isRegistration } from "../../lib/front.mjs";
import { expire, registered, signInAndRegister, startShop } from "../../lib/shop.mjs";

/** The age up to which the server under test accepts a proof for a transfer. */
const RECENT_MS = 5_000;

export default async function stepUp(checks, context, fact) {
  await Promise.all([bound(checks, context, fact), unbound(checks, context)]);
}

async function bound(checks, context, fact) {
  const shop = await startShop("step-up");
  const { front } = shop;
  const isTransfer = ({ path }) => path === "/api/transfer";
  let page;

  await checks.check("a transfer soon after a proof needs no other", async () => {
    page = await signInAndRegister(context, shop);
    await expectStatus(page, 200, "GET", "/api/me");
    const since = front.since();
    await expectStatus(page, 200, "POST", "/api/transfer", { amount: 1 });
    assert.deepEqual(since(isRefresh), []);
    assert.equal((await shop.counters())("transfers"), 1);
  });

  await checks.check("a transfer long after the last proof gets one in between, and happens once", async () => {
    await sleep(RECENT_MS + 200);
    const since = front.since();
    const { transferred } = await expectStatus(page, 200, "POST", "/api/transfer", { amount: 1_000 });
    assert.deepEqual(transferred, { amount: 1_000 }, "with its body");
    assert.equal((await shop.counters())("transfers"), 2);
    assert.deepEqual(since(isTransfer).map(({ status }) => status), [307, 200]);
    assert.equal(since(isAccepted).length, 1);
    fact("the request is sent again with its method, its body and its header", () => {
      const sent = since(isTransfer).map(({ method, length, xsrf }) => [method, length, xsrf]);
      assert.deepEqual(sent[0], sent[1]);
      assert.ok(sent[0][2], "with the XSRF token");
    });
  });

  await checks.check("a transfer whose proof does not come is told to try again, and does not happen", async () => {
    await sleep(RECENT_MS + 200);
    front.fail(isRefresh, 503);
    const since = front.since();
    await expectStatus(page, 503, "POST", "/api/transfer", { amount: 5 });
    assert.deepEqual(since(isTransfer).map(({ status }) => status), [307, 503]);
    front.heal();
    assert.equal((await shop.counters())("transfers"), 2);
    await expectStatus(page, 200, "POST", "/api/transfer", { amount: 5 });
    assert.equal((await shop.counters())("transfers"), 3);
  });
  await page?.close();
  shop.stop();
}

const unbound = (checks, context) =>
  checks.check("an unbound session cannot transfer, and is not asked for a proof in vain", async () => {
    const shop = await startShop("step-up-unbound");
    shop.front.fail(isRegistration, 503);
    const page = await openClient(context, shop, "fetch.html");
    await signIn(page);
    await registered(shop);
    const refused = await expectStatus(page, 403, "POST", "/api/transfer", { amount: 1 });
    assert.equal(refused.code, "device_binding_required");
    await expire(page);
    await expectStatus(page, 403, "POST", "/api/transfer", { amount: 1 });
    await expectStatus(page, 200, "POST", "/api/write", {});
    assert.equal((await shop.counters())("transfers"), 0);
    await page.close();
    shop.stop();
  });
