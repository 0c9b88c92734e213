// Answers of the device service that are lost, or cut off in the middle of the body, and a request that is late.

import assert from "node:assert/strict";
import { expectStatus, openClient, send, signIn } from "../../lib/browser.mjs";
import { sleep, until } from "../../lib/checks.mjs";
import { isProof, isQuestion, isRefresh, isRegistration } from "../../lib/front.mjs";
import { PAST_GRACE_MS, boundOnce, expire, registered, signInAndRegister, startShop } from "../../lib/shop.mjs";

/** How long after the last attempt the browser has given up for good. */
const QUIET_MS = 1_000;

export default async function losses(checks, context, fact) {
  const inShop = (name, sentence, body) =>
    checks.check(sentence, async () => {
      const shop = await startShop(name);
      try {
        await body(shop);
      } finally {
        shop.stop();
      }
    });

  const registrationFails = (name, how, sentence) =>
    inShop(name, sentence, async (shop) => {
      shop.front.fail(isRegistration, how);
      const page = await openClient(context, shop, "fetch.html");
      await signIn(page);
      await registered(shop);
      await givenUp(shop);
      shop.front.heal();
      const before = await expectStatus(page, 200, "GET", "/api/me");
      assert.equal(before.bound, false);
      await expire(page);
      const after = await expectStatus(page, 200, "GET", "/api/me");
      assert.deepEqual([after.session, after.bound], [before.session, false]);
      await expectStatus(page, 200, "POST", "/api/write", {});
      assert.ok(!(await shop.events()).includes("DeviceBound"));
      fact(`a registration whose answer is ${how} makes no session`, () =>
        assert.deepEqual(shop.front.seen.filter(isRefresh), []),
      );
      // Not a fact that matters, but the reason why a cookie that comes back shows nothing.
      const [registration] = shop.front.seen.filter(isRegistration);
      assert.equal(registration.status, 200, "the server had taken the registration");
    });

  await Promise.all([
    registrationFails("lost-registration", "lost", "the answer to the registration is lost: the session goes on unbound"),
    registrationFails("cut-registration", "cut", "the answer to the registration is cut off: the session goes on unbound"),

    inShop("lost-once", "the answer to the registration is lost once: the same one is good again", async (shop) => {
      shop.front.fail(isRegistration, "lost", 1);
      const page = await openClient(context, shop, "fetch.html");
      await signIn(page);
      await givenUp(shop);
      fact("a registration whose answer is lost is sent again", () =>
        assert.deepEqual(shop.front.seen.filter(isRegistration).map(({ status }) => status), [200, 200]),
      );
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
      await boundOnce(shop);
    }),

    inShop("lost-binding", "the answer to the binding proof is lost once: the page does not notice", async (shop) => {
      const page = await signInAndRegister(context, shop);
      shop.front.fail(isProof, "lost", 1);
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
      await boundOnce(shop);
      const proofs = shop.front.seen.filter(isProof);
      assert.deepEqual([proofs[0].status, proofs.at(-1).status], [200, 200], "the server had bound the session");
      fact("the same proof is sent again, and a new one after the 403", () => {
        assert.deepEqual(proofs.map(({ status }) => status), [200, 403, 200]);
        assert.equal(proofs[0].proof, proofs[1].proof);
        assert.notEqual(proofs[1].proof, proofs[2].proof);
      });
    }),

    inShop("lost-often", "every answer to the binding proof is lost: 503 after the grace, then bound", async (shop) => {
      const page = await signInAndRegister(context, shop);
      shop.front.fail(isRefresh, "lost");
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, false, "served without having proven");
      await boundOnce(shop);
      const [sent] = shop.front.seen.filter(({ path }) => path === "/api/me");
      assert.ok(!sent.cookies.includes("__Host-access"));
      assert.deepEqual(sent.sets, [], "no cookies without a proof");
      await sleep(PAST_GRACE_MS);
      await expectStatus(page, 503, "GET", "/api/me");
      fact("the browser says that the server is unreachable", () =>
        assert.match(shop.front.seen.findLast(({ path }) => path === "/api/me").skipped, /^unreachable/),
      );
      shop.front.heal();
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
      assert.ok(!(await shop.events()).includes("ProofRefused"));
    }),

    inShop("lost-refresh", "the answers to a later proof are lost, and cut off: the page does not notice", async (shop) => {
      const page = await signInAndRegister(context, shop);
      const before = await expectStatus(page, 200, "GET", "/api/me");
      for (const how of ["lost", "cut"]) {
        const since = shop.front.since();
        shop.front.fail(isProof, how, 1);
        await expire(page);
        assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
        assert.equal(since(isProof)[0].status, 200, "the server had taken the proof");
        shop.front.heal();
      }
      // Whatever the browser kept of the cut answer, the next expiry finds both sides in step.
      await expire(page);
      assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
      await boundOnce(shop);
    }),

    inShop("late", "a request that is on its way while the session is bound is answered, without cookies", async (shop) => {
      const isRead = ({ path }) => path === "/api/read";
      const page = await openClient(context, shop, "fetch.html");
      const register = shop.front.hold(isRegistration);
      await signIn(page);
      await expire(page);
      const arrive = shop.front.hold(isRead);
      const read = send(page, "GET", "/api/read");
      await until("the request", () => shop.front.seen.some(isRead));
      register();
      await registered(shop);
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
      arrive();
      assert.equal((await read).status, 200);
      const late = shop.front.seen.find(isRead);
      assert.ok(!late.cookies.includes("__Host-access"), "it came with nothing but the refresh cookie");
      assert.deepEqual(late.sets, []);
      await boundOnce(shop);
    }),

    inShop("lost-question", "the answer to a question for a challenge is lost: the page does not notice", async (shop) => {
      const page = await signInAndRegister(context, shop);
      const before = await expectStatus(page, 200, "GET", "/api/me");
      shop.front.fail(isQuestion, "lost", 1);
      await expire(page);
      assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
      await until("the question again", () => shop.front.seen.filter(isQuestion).length > 1);
    }),
  ]);
}

/** Waits until the browser no longer tries to register. */
async function givenUp({ front }) {
  for (let count = 0; count < front.seen.length; ) {
    count = front.seen.length;
    await sleep(QUIET_MS);
  }
}
