// The device service, or the store behind it, fails for a while.

import assert from "node:assert/strict";
import { expectStatus, send, signIn } from "../../lib/browser.mjs";
import { sleep, until } from "../../lib/checks.mjs";
import { isDevice, isProof } from "../../lib/front.mjs";
import { PAST_GRACE_MS, copyCookies, expire, signInAndRegister, startShop, withoutBrowser } from "../../lib/shop.mjs";

export default async function outages(checks, context, fact) {
  const inShop = (name, sentence, body) =>
    checks.check(sentence, async () => {
      const shop = await startShop(name);
      try {
        const page = await signInAndRegister(context, shop);
        const before = await expectStatus(page, 200, "GET", "/api/me");
        assert.equal(before.bound, true);
        await sleep(PAST_GRACE_MS);
        await body(shop, page, before);
      } finally {
        shop.stop();
      }
    });

  await Promise.all([
    inShop("deploy", "while the service answers 503, requests get a 503, and then all is well", async (shop, page, before) => {
      shop.front.fail(isDevice, 503);
      await expire(page);
      const answer = await read(page);
      assert.deepEqual([answer.status, answer.code], [503, "unavailable"]);
      assert.ok(answer.retryAfter > 0, "it says when to retry");
      const { skipped, sets } = shop.front.seen.findLast(({ path }) => path === "/api/read");
      assert.deepEqual(sets, [], "nothing is set or cleared");
      fact("the browser says that the server failed", () => assert.match(skipped, /^server_error/));
      // The same cookies from a client that does not say that it could not prove: it is to sign in.
      const other = await withoutBrowser(shop, await copyCookies(context, shop), "/api/read");
      assert.deepEqual([other.status, other.body.code], [401, "device_proof_required"]);
      shop.front.heal();
      assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
    }),

    inShop("store", "while the store is down, requests get a 503, and then all is well", async (shop, page, before) => {
      await shop.store("down");
      await expectStatus(page, 200, "GET", "/api/read");
      await expire(page);
      const since = shop.front.since();
      const answer = await read(page);
      assert.deepEqual([answer.status, answer.code], [503, "unavailable"]);
      assert.ok(since(isDevice).length > 0);
      for (const { status, sets } of since(isDevice)) assert.deepEqual([status, sets], [503, []]);
      await shop.store("up");
      assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
      assert.ok(!(await shop.events()).includes("ProofRefused"));
    }),

    // Why the service never answers with these, and why nothing in front of it may.
    ...[404, 429].map((status) =>
      inShop(`status-${status}`, `after a ${status} from in between, a sign-in helps`, async (shop, page, before) => {
        shop.front.fail(isDevice, status, 1);
        await expire(page);
        const answers = [await send(page, "GET", "/api/me"), await send(page, "GET", "/api/me")];
        fact(`with a ${status}, the browser gives its session up`, () => {
          const outcome = answers.map(({ status, body }) => [status, body.code]);
          assert.deepEqual(outcome, Array(2).fill([401, "device_proof_required"]));
        });
        await signIn(page);
        assert.notEqual((await expectStatus(page, 200, "GET", "/api/me")).session, before.session);
      }),
    ),

    inShop("slow", "while an answer is slow, reads, writes and a WebSocket wait for the one proof", async (shop, page) => {
      const release = shop.front.hold(isProof);
      await expire(page);
      const since = shop.front.since();
      const waiting = page.evaluate(async () => {
        const { send } = window.client;
        const answers = await Promise.all([send("GET", "/api/read"), send("POST", "/api/write", {}), send("GET", "/api/me")]);
        return answers.map(({ status }) => status);
      });
      const greeting = page.evaluate(
        () =>
          new Promise((resolve) => {
            const socket = new WebSocket(`wss://${location.host}/api/socket`);
            socket.onmessage = ({ data }) => resolve(data);
            socket.onerror = () => resolve("refused");
          }),
      );
      await until("the proof", () => since(isProof).length > 0);
      await sleep(1_500);
      fact("everything waits", () => assert.ok(since().every(isDevice)));
      release();
      assert.deepEqual(await waiting, [200, 200, 200]);
      assert.equal(await greeting, "hello ada");
      fact("one proof is enough", () => assert.equal(since(isProof).length, 1));
    }),
  ]);
}

const read = (page) =>
  page.evaluate(async () => {
    const answer = await fetch("/api/read", { headers: { Accept: "application/json" } });
    const { code } = await answer.json();
    return { status: answer.status, code, retryAfter: Number(answer.headers.get("Retry-After")) };
  });
