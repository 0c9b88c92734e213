// Sessions that are bound to a key of the browser: what takes minutes, and a restart.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { basename } from "node:path";
import { expectStatus, jar, openClient, send, withFolder } from "../lib/browser.mjs";
import { sleep, until } from "../lib/checks.mjs";
import { isAccepted, isProof, isRefresh, isRegistration } from "../lib/front.mjs";
import {
  GRACE_MS,
  PAST_GRACE_MS,
  boundOnce,
  expire,
  facts,
  inBindingProfile,
  openProfile,
  signInAndRegister,
  startShop,
} from "../lib/shop.mjs";

const MINUTE_MS = 60_000;
/** The shortest lifetime of access cookies in bound sessions. Their tokens live longer by the grace period. */
const ACCESS_MS = 5 * MINUTE_MS;
const SHORT = { ACCESS_SECS: String((ACCESS_MS + GRACE_MS) / 1_000) };
const TABS = 5;
const EXPIRIES = 3;
const PATIENCE_MS = EXPIRIES * ACCESS_MS + 3 * MINUTE_MS;

export default async function deviceLong(checks, browser) {
  const fact = facts(browser, checks.note);
  const scenarios = [silence, work, beside, lastMoment, quota];
  await Promise.all([
    inBindingProfile((context) => Promise.all(scenarios.map((run) => run(checks, context, fact)))),
    restart(checks, fact),
  ]);
}

/** Signs in on one of five tabs, and resolves to them and what they are told of the session. */
async function openTabs(context, shop) {
  const pages = [await signInAndRegister(context, shop)];
  while (pages.length < TABS) pages.push(await openClient(context, shop, "fetch.html"));
  const before = await expectStatus(pages[0], 200, "GET", "/api/me");
  assert.equal(before.bound, true);
  return { pages, before };
}

const silence = (checks, context, fact) =>
  checks.check(
    `${TABS} tabs go through ${EXPIRIES} real expiries, each after a silence`,
    async () => {
      const shop = await startShop("silence", SHORT);
      const { pages, before } = await openTabs(context, shop);
      for (let n = 0; n < EXPIRIES; n += 1) {
        const isGone = async () => !("__Host-access" in (await jar(context, shop.origin)));
        await until("the cookie to expire", isGone, ACCESS_MS + 10_000);
        const since = shop.front.since();
        const answers = await Promise.all(pages.map((page) => expectStatus(page, 200, "GET", "/api/me")));
        for (const answer of answers) assert.deepEqual(answer, before);
        assert.ok(since(isAccepted).length > 0);
        fact("all tabs wait for one proof", () =>
          assert.deepEqual(since(isRefresh).map(({ status }) => status), [403, 200]),
        );
      }
      await boundOnce(shop);
      shop.stop();
    },
    PATIENCE_MS,
  );

const work = (checks, context) =>
  checks.check(
    `${TABS} tabs that never rest go through ${EXPIRIES} lifetimes, and every request is answered`,
    async () => {
      const shop = await startShop("work", SHORT);
      const { pages, before } = await openTabs(context, shop);
      const ends = performance.now() + EXPIRIES * ACCESS_MS;
      let answers = 0;
      while (performance.now() < ends) {
        for (const page of pages) {
          await expectStatus(page, 200, "GET", "/api/read");
          await expectStatus(page, 200, "POST", "/api/write", {});
          answers += 2;
        }
        await sleep(1_000);
      }
      assert.deepEqual(await expectStatus(pages[0], 200, "GET", "/api/me"), before);
      const proofs = shop.front.seen.filter(isAccepted).length;
      assert.ok(proofs >= EXPIRIES, `${proofs} proofs`);
      checks.note(`${answers} requests in ${EXPIRIES} lifetimes of ${ACCESS_MS / MINUTE_MS} minutes took ${proofs} proofs`);
      await boundOnce(shop);
      shop.stop();
    },
    PATIENCE_MS,
  );

const beside = (checks, context, fact) =>
  checks.check(
    "shortly before the cookie expires, it is renewed, and no request waits for that",
    async () => {
      const shop = await startShop("beside", SHORT);
      const { pages, before } = await openTabs(context, shop);
      await sleep(ACCESS_MS - MINUTE_MS);
      const release = shop.front.hold(isRefresh);
      const since = shop.front.since();
      assert.deepEqual(await expectStatus(pages[0], 200, "GET", "/api/me"), before);
      fact("in the last two minutes, the browser renews the cookie beside the request", () =>
        assert.equal(since(isRefresh).length, 1),
      );
      release();
      await expectStatus(pages[0], 200, "GET", "/api/me");
      await until("the renewal", () => since(isAccepted).length > 0);
      await boundOnce(shop);
      shop.stop();
    },
    PATIENCE_MS,
  );

/** Before and after the end of the cookie, in milliseconds. */
const MOMENTS = [-1_500, -900, -600, -300, -100, 100, 500];

/** In the shops, tokens are refused from the second on in which they expire. */
const lastMoment = (checks, context) =>
  checks.check(
    "a first request after a silence, at about the moment at which the cookie expires, is answered",
    async () => {
      const answers = MOMENTS.map(async (moment, n) => {
        const shop = await startShop(`moment-${n}`, SHORT);
        const page = await signInAndRegister(context, shop);
        const before = await expectStatus(page, 200, "GET", "/api/me");
        const { expires } = (await jar(context, shop.origin))["__Host-access"];
        await sleep(1_000 * expires + moment - Date.now());
        const after = await send(page, "GET", "/api/me");
        shop.stop();
        return { moment, after, before };
      });
      for (const { moment, after, before } of await Promise.all(answers)) {
        assert.deepEqual([moment, after], [moment, { status: 200, body: before }]);
      }
    },
    PATIENCE_MS,
  );

/** How many signatures Chromium makes for a site, in this time. */
const QUOTA = { signatures: 6, milliseconds: 9 * MINUTE_MS };

const quota = (checks, context, fact) =>
  checks.check(
    "a browser that has used up its signatures is told to try again until it has some, and keeps its session",
    async () => {
      const shop = await startShop("quota");
      const page = await signInAndRegister(context, shop);
      const started = performance.now();
      const before = await expectStatus(page, 200, "GET", "/api/me");
      assert.equal(before.bound, true);
      await sleep(PAST_GRACE_MS);
      // Each expiry needs a signature, until there is none.
      let answer = { status: 200 };
      for (let n = 0; n < 2 * QUOTA.signatures && answer.status === 200; n += 1) {
        await expire(page);
        answer = await ask(page);
      }
      assert.equal(answer.status, 503, "not refused as a stranger");
      assert.ok(answer.retryAfter > 0);
      fact("the browser says that it has no signature left", () => {
        assert.match(shop.front.seen.findLast(({ path }) => path === "/api/me").skipped, /^quota_exceeded/);
        const made = shop.front.seen.filter((entry) => isRegistration(entry) || isProof(entry));
        assert.equal(new Set(made.map(({ proof }) => proof)).size, QUOTA.signatures);
      });
      while (answer.status !== 200) {
        assert.equal(answer.status, 503);
        assert.ok(performance.now() - started < QUOTA.milliseconds + 2 * MINUTE_MS, "there are signatures again");
        await sleep(5_000);
        answer = await ask(page);
      }
      checks.note(`a browser without signatures had one again after ${Math.round((performance.now() - started) / 1_000)} s`);
      assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
      await boundOnce(shop, ["ProofMissing", "Refused"]);
      shop.stop();
    },
    QUOTA.milliseconds + 3 * MINUTE_MS,
  );

const restart = (checks, fact) =>
  checks.check("a browser that is restarted still has its key, and is signed in, expired or not", () =>
    withFolder(async (folder) => {
      const shop = await startShop("restart");
      let context = await openProfile(folder);
      let page = await signInAndRegister(context, shop);
      const before = await expectStatus(page, 200, "GET", "/api/me");
      assert.equal(before.bound, true);
      await sleep(PAST_GRACE_MS);
      for (const isExpired of [false, true]) {
        if (isExpired) await expire(page);
        await context.close();
        const since = shop.front.since();
        context = await openProfile(folder);
        page = await openClient(context, shop, "fetch.html");
        assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
        assert.ok(!isExpired || since(isAccepted).length > 0);
        fact("a restart makes no new session", () => assert.deepEqual(since(isRegistration), []));
      }
      await boundOnce(shop);
      await expire(page);
      await context.close();
      await copied(folder, shop, before, fact);
      shop.stop();
    }),
  );

/** What no server can notice: with a key in software, somebody who copies all of the profile has copied the key. */
const copied = (folder, shop, before, fact) =>
  withFolder(async (copy) => {
    cpSync(folder, copy, { recursive: true, filter: (path) => !basename(path).startsWith("Singleton") });
    const context = await openProfile(copy);
    const page = await openClient(context, shop, "fetch.html");
    const answer = await send(page, "GET", "/api/me");
    fact("a copy of the profile has a copy of the key", () => assert.deepEqual(answer, { status: 200, body: before }));
    await context.close();
  });

const ask = (page) =>
  page.evaluate(async () => {
    const answer = await fetch("/api/me");
    return { status: answer.status, retryAfter: Number(answer.headers.get("Retry-After")) };
  });
