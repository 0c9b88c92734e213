// Offers after that of the sign-in.

import assert from "node:assert/strict";
import { expectStatus, openClient, signIn } from "../../lib/browser.mjs";
import { sleep, until } from "../../lib/checks.mjs";
import { isRefresh, isRegistration } from "../../lib/front.mjs";
import { PAST_GRACE_MS, boundOnce, expire, registered, startShop } from "../../lib/shop.mjs";

export default async function offers(checks, context, fact) {
  await Promise.all([again(checks, context), twoKeys(checks, context, fact)]);
}

const isRegistered = (entry) => isRegistration(entry) && entry.status === 200;

const again = (checks, context) =>
  checks.check("a session whose registration failed is bound after another offer, and is offered no third", async () => {
    const shop = await startShop("offer");
    shop.front.fail(isRegistration, 503);
    const page = await openClient(context, shop, "fetch.html");
    await signIn(page);
    await registered(shop);
    shop.front.heal();
    assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, false);
    assert.deepEqual(await expectStatus(page, 200, "GET", "/api/offer"), { offered: true });
    await until("the registration", () => shop.front.seen.some(isRegistered));
    assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
    assert.deepEqual(await expectStatus(page, 200, "GET", "/api/offer"), { offered: false });
    await boundOnce(shop);
    await page.close();
    shop.stop();
  });

const twoKeys = (checks, context, fact) =>
  checks.check("of two keys that a browser has registered for a session, one binds, and the other renews nothing", async () => {
    const shop = await startShop("two-keys");
    const register = shop.front.hold(isRegistration);
    const page = await openClient(context, shop, "fetch.html");
    await signIn(page);
    await expectStatus(page, 200, "GET", "/api/offer");
    await until("both registrations", () => shop.front.seen.filter(isRegistration).length === 2);
    register();
    await until("both answers", () => shop.front.seen.filter(isRegistered).length === 2);
    const before = await expectStatus(page, 200, "GET", "/api/me");
    assert.equal(before.bound, true);
    await sleep(PAST_GRACE_MS);
    await expire(page);
    assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
    await expectStatus(page, 200, "POST", "/api/write", {});
    await boundOnce(shop);

    // Without the session that is bound, the browser comes with the other one.
    shop.front.fail(isRefresh, 404, 1);
    await expire(page);
    assert.equal((await expectStatus(page, 401, "GET", "/api/me")).code, "device_proof_required");
    const events = await shop.events();
    assert.deepEqual(events.filter((event) => event === "DeviceBound"), ["DeviceBound"]);
    fact("after a session that it gives up, the browser tries the other", () =>
      assert.ok(events.includes("BindingConflict")),
    );
    fact("each offer makes a key", () => {
      const headers = shop.front.seen.filter(isRegistration).map(({ proof }) => proof.split(".")[0]);
      assert.equal(new Set(headers).size, 2);
    });
    await page.close();
    shop.stop();
  });
