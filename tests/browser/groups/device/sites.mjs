// Pages of other sites: one that signs in, as an OpenID provider answers with `form_post`, and links.

import assert from "node:assert/strict";
import { expectStatus } from "../../lib/browser.mjs";
import { sleep } from "../../lib/checks.mjs";
import { isProof, isRefresh, isRegistration, startFront } from "../../lib/front.mjs";
import { PAST_GRACE_MS, boundOnce, expire, registered, signInAndRegister, startShop } from "../../lib/shop.mjs";

export default async function sites(checks, context, fact) {
  await Promise.all([
    callback(checks, context, fact),
    link(checks, context, fact, { name: "lax", settings: {} }),
    link(checks, context, fact, { name: "initiators", settings: { INITIATORS: "*" } }),
  ]);
}

const callback = (checks, context, fact) =>
  checks.check("a sign-in by another site's form binds, with `SameSite=Strict` cookies", async () => {
    const shop = await startShop("callback");
    const form = `<form method="post" action="${shop.origin}/callback"></form><script>document.forms[0].submit()</script>`;
    const provider = await startFront("provider.example", { "/": `<!doctype html><title>provider</title>${form}` });
    const page = await context.newPage();
    await page.goto(provider.origin, { waitUntil: "commit" });
    await page.waitForURL(`${shop.origin}/clients/fetch.html`);
    await page.waitForFunction(() => window.client);
    await registered(shop);
    assert.equal(shop.front.seen.find(({ path }) => path === "/callback").site, "cross-site");
    const registration = shop.front.seen.find(isRegistration);
    assert.equal(registration.status, 200);
    fact("the registration is same-origin, and comes without cookies", () =>
      assert.deepEqual([registration.site, registration.cookies], ["same-origin", []]),
    );
    assert.equal((await expectStatus(page, 200, "GET", "/api/me")).bound, true);
    await boundOnce(shop);
    assert.deepEqual(shop.front.seen.filter(isProof).map(({ status }) => status), [200]);
    await page.close();
    provider.stop();
    shop.stop();
  });

/** A link from another site, with cookies that are sent along and an access cookie that has expired. */
const link = (checks, context, fact, { name, settings }) => {
  const renews = "INITIATORS" in settings;
  const outcome = renews ? "is renewed by a proof, where the site may cause one" : "is refused, and harms nothing";
  return checks.check(`with \`SameSite=Lax\`, a link from another site to an expired session ${outcome}`, async () => {
    const shop = await startShop(name, { SAME_SITE: "Lax", ...settings });
    const other = await startFront(`links-to-${name}.example`, {
      "/": `<!doctype html><title>links</title><a href="${shop.origin}/api/me">to the shop</a>`,
    });
    const page = await signInAndRegister(context, shop);
    const before = await expectStatus(page, 200, "GET", "/api/me");
    assert.equal(before.bound, true);
    await sleep(PAST_GRACE_MS);
    const follow = async () => {
      const tab = await context.newPage();
      await tab.goto(other.origin);
      const since = shop.front.since();
      const [answer] = await Promise.all([tab.waitForResponse(`${shop.origin}/api/me`), tab.click("a")]);
      await tab.close();
      return { status: answer.status(), since };
    };
    assert.equal((await follow()).status, 200, "while the access cookie lives");

    await expire(page);
    const { status, since } = await follow();
    const [sent] = since(({ path }) => path === "/api/me");
    assert.ok(sent.cookies.includes("__Host-refresh"), "the refresh cookie came along");
    assert.ok([200, 401].includes(status));
    assert.deepEqual(sent.sets, [], "and renewed nothing by itself");
    if (renews) {
      assert.equal(status, 200);
      fact("the proof comes without cookies", () => {
        assert.deepEqual(since(isRefresh).map(({ cookies }) => cookies), [[], []]);
      });
    } else {
      fact("the browser does not hold the request of another site's page, and does not say so", () => {
        // What comes later is for the icon of the page, which is the shop's own.
        assert.deepEqual([since()[0], sent.skipped, status], [sent, undefined, 401]);
      });
    }
    // The shop's own page goes on as ever.
    assert.deepEqual(await expectStatus(page, 200, "GET", "/api/me"), before);
    assert.ok(!(await shop.events()).includes("ProofRefused"));
    await page.close();
    other.stop();
    shop.stop();
  });
};
