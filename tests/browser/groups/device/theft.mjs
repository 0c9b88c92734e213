// Cookies that somebody has copied, and script in the page.

import assert from "node:assert/strict";
import { expectStatus, jar, openClient, signIn } from "../../lib/browser.mjs";
import { sleep } from "../../lib/checks.mjs";
import { isAccepted, isDevice, isRegistration } from "../../lib/front.mjs";
import {
  PAST_GRACE_MS,
  boundOnce,
  copyCookies,
  expire,
  inBindingProfile,
  registered,
  signInAndRegister,
  startShop,
  withoutBrowser,
} from "../../lib/shop.mjs";

const REFUSED = [401, "device_proof_required"];

export default async function theft(checks, context, fact) {
  await Promise.all([copied(checks, context, fact), copiedUnbound(checks, context), script(checks, context, fact)]);
}

/** Without its access cookie: what a thief has once that has expired. */
const expired = (cookies) => cookies.replace(/__Host-access=[^;]*(; )?/, "");

const copied = (checks, context, fact) =>
  checks.check("copied cookies of a bound session renew nothing in another profile or without a browser", async () => {
    const shop = await startShop("theft");
    const victim = await signInAndRegister(context, shop);
    const before = await expectStatus(victim, 200, "GET", "/api/me");
    assert.equal(before.bound, true);
    const cookies = await copyCookies(context, shop);
    await sleep(PAST_GRACE_MS);

    // The copies are good: until it expires, the access token is worth what it was to its owner.
    assert.deepEqual((await withoutBrowser(shop, cookies, "/api/me")).body, before);
    for (const [method, path] of [["GET", "/api/me"], ["POST", "/api/refresh"]]) {
      const headers = { "Sec-Fetch-Site": "same-origin", Origin: shop.origin };
      const answer = await withoutBrowser(shop, expired(cookies), path, { method, headers });
      assert.deepEqual([answer.status, answer.body.code], REFUSED, `${method} ${path}`);
      assert.equal(answer.headers["set-cookie"], undefined, "nothing is set or cleared");
    }
    // He can say that he could not prove, which makes his refusals milder, and nothing else.
    const skipped = { "Secure-Session-Skipped": "unreachable" };
    const answer = await withoutBrowser(shop, expired(cookies), "/api/me", { headers: skipped });
    assert.deepEqual([answer.status, answer.headers["set-cookie"]], [503, undefined]);
    const named = { "Sec-Secure-Session-Id": "mine", "Sec-Fetch-Site": "same-origin", Origin: shop.origin };
    const device = await withoutBrowser(shop, expired(cookies), "/api/device", { method: "POST", headers: named });
    assert.deepEqual([device.status, device.headers["secure-session-challenge"]], [401, undefined]);

    await inBindingProfile(async (other) => {
      await other.addCookies(await context.cookies(shop.origin));
      const thief = await openClient(other, shop, "fetch.html");
      assert.deepEqual(await expectStatus(thief, 200, "GET", "/api/me"), before);
      await expire(thief);
      const since = shop.front.since();
      assert.equal((await expectStatus(thief, 401, "GET", "/api/me")).code, REFUSED[1]);
      assert.equal((await expectStatus(thief, 401, "POST", "/api/write", {})).code, REFUSED[1]);
      fact("a browser without the session's key asks for nothing", () => assert.deepEqual(since(isDevice), []));
      assert.ok("__Host-refresh" in (await jar(other, shop.origin)), "the copy is still there, and of no use");

      // At the same moment, the victim's browser renews the session with the same refresh cookie.
      await expire(victim);
      assert.deepEqual(await expectStatus(victim, 200, "GET", "/api/me"), before);
      await expectStatus(victim, 200, "POST", "/api/write", {});
      assert.ok(since(isAccepted).length > 0);
      assert.equal((await expectStatus(thief, 401, "GET", "/api/me")).code, REFUSED[1]);
    });

    assert.ok((await shop.events()).includes("ProofMissing"), "the application hears of it");
    await boundOnce(shop, ["ProofMissing", "Refused"]);
    await victim.close();
    shop.stop();
  });

/** Shows that the check above fails where sessions are not bound. */
const copiedUnbound = (checks, context) =>
  checks.check("copied cookies of an unbound session do renew it, in another profile and without a browser", async () => {
    // Long enough for both thieves: later, the second would be noticed, and the session revoked.
    const shop = await startShop("theft-unbound", { GRACE_SECS: "30" });
    shop.front.fail(isRegistration, 503);
    const victim = await openClient(context, shop, "fetch.html");
    await signIn(victim);
    await registered(shop);
    const answer = await withoutBrowser(shop, expired(await copyCookies(context, shop)), "/api/me");
    assert.equal(answer.status, 200);
    assert.ok(answer.headers["set-cookie"].some((cookie) => cookie.startsWith("__Host-access=")));
    await inBindingProfile(async (other) => {
      await other.addCookies(await context.cookies(shop.origin));
      const thief = await openClient(other, shop, "fetch.html");
      await expire(thief);
      assert.equal((await expectStatus(thief, 200, "GET", "/api/me")).bound, false);
      assert.ok("__Host-access" in (await jar(other, shop.origin)));
    });
    await victim.close();
    shop.stop();
  });

const script = (checks, context, fact) =>
  checks.check("script that registers a key of its own binds nothing, and the browser's key does", async () => {
    const shop = await startShop("script");
    const page = await openClient(context, shop, "fetch.html");
    const statuses = await page.evaluate(registerOwnKey);
    assert.deepEqual(statuses, { registration: 200, binding: 400 });
    await registered(shop);
    assert.deepEqual(await shop.events(), ["SignedIn"]);
    fact("script cannot set the header that names a session", () =>
      assert.deepEqual(shop.front.seen.filter((entry) => isDevice(entry) && entry.named), []),
    );
    assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
    await boundOnce(shop);
    await page.close();
    shop.stop();
  });

/** Runs in the page: signs in, registers a key, and tries to bind the session to it. */
async function registerOwnKey() {
  const base64url = (bytes) =>
    btoa(String.fromCharCode(...bytes)).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
  const text = (value) => new TextEncoder().encode(value);
  const curve = { name: "ECDSA", namedCurve: "P-256" };
  const { privateKey, publicKey } = await crypto.subtle.generateKey(curve, true, ["sign"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  const sign = async (header, jti) => {
    const parts = [{ alg: "ES256", typ: "dbsc+jwt", ...header }, { jti }];
    const message = parts.map((part) => base64url(text(JSON.stringify(part))));
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, text(message.join(".")));
    return [...message, base64url(new Uint8Array(signature))].join(".");
  };
  const post = (headers) => fetch("/api/device", { method: "POST", headers });

  const signedIn = await fetch("/api/login", { method: "POST" });
  const [, offered] = signedIn.headers.get("Secure-Session-Registration").match(/challenge="([^"]+)"/);
  const registration = await post({ "Secure-Session-Response": await sign({ jwk: { kty, crv, x, y } }, offered) });
  const { session_identifier: id } = await registration.json();
  const [, asked] = registration.headers.get("Secure-Session-Challenge").match(/"([^"]+)";\s*id=/);
  const binding = await post({ "Sec-Secure-Session-Id": id, "Secure-Session-Response": await sign({}, asked) });
  return { registration: registration.status, binding: binding.status };
}
