// The cookies as stored by the browser, and which of them script can see.

import assert from "node:assert/strict";
import { expectStatus, inProfile, jar, openClient, signIn } from "../lib/browser.mjs";
import { startLab } from "../lib/servers.mjs";

const DAY = 24 * 60 * 60;

export default async function cookies(checks, browser) {
  const server = await startLab();
  const check = (sentence, body) =>
    checks.check(sentence, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, "fetch.html");
        await signIn(page);
        await body(page, context);
      }),
    );

  await check("the three cookies are stored with the documented attributes", async (page, context) => {
    const stored = await jar(context, server.origin);
    assert.deepEqual(Object.keys(stored).sort(), ["XSRF-TOKEN", "__Host-access", "__Host-refresh"]);
    for (const { name, httpOnly, secure, sameSite, path, domain } of Object.values(stored)) {
      assert.deepEqual(
        { httpOnly, secure, sameSite, path, domain },
        { httpOnly: name !== "XSRF-TOKEN", secure: true, sameSite: "Strict", path: "/", domain: "localhost" },
        name,
      );
    }
  });

  await check("cookies live as long as their tokens, and XSRF-TOKEN as long as the refresh cookie", async (page, context) => {
    const stored = await jar(context, server.origin);
    const now = Date.now() / 1000;
    const left = (name) => Math.round(stored[name].expires - now);
    assert.ok(Math.abs(left("__Host-access") - 15 * 60) < 60, `access: ${left("__Host-access")} s`);
    assert.ok(Math.abs(left("__Host-refresh") - 90 * DAY) < 60, `refresh: ${left("__Host-refresh")} s`);
    assert.ok(Math.abs(left("XSRF-TOKEN") - left("__Host-refresh")) < 5, `XSRF: ${left("XSRF-TOKEN")} s`);
  });

  await check("script can see only XSRF-TOKEN, whichever API it uses", async (page) => {
    assert.match(await page.evaluate(() => document.cookie), /^XSRF-TOKEN=[A-Za-z0-9_-]{24}$/);
    const names = await page.evaluate(async () => (await cookieStore.getAll()).map(({ name }) => name));
    assert.deepEqual(names, ["XSRF-TOKEN"]);
    const headers = await page.evaluate(async () => [...(await fetch("/api/me")).headers.keys()]);
    assert.ok(!headers.includes("set-cookie"), "responses reveal no cookies to script");
  });

  await check("script can neither replace nor remove an HttpOnly cookie", async (page, context) => {
    const before = await jar(context, server.origin);
    await page.evaluate(() => {
      document.cookie = "__Host-access=forged; Path=/; Secure";
      document.cookie = "__Host-refresh=; Path=/; Secure; Max-Age=0";
    });
    assert.deepEqual(await jar(context, server.origin), before);
    await expectStatus(page, 200, "GET", "/api/me");
  });

  await check("no cookie is left after sign-out, and navigating back restores none", async (page, context) => {
    await expectStatus(page, 204, "POST", "/api/logout");
    assert.deepEqual(await jar(context, server.origin), {});
    assert.equal(await page.evaluate(() => document.cookie), "");
    await page.goto(`${server.origin}/`);
    await page.goBack();
    assert.deepEqual(await jar(context, server.origin), {});
  });

  await check("a second sign-in replaces all three cookies, and the old XSRF token is refused", async (page, context) => {
    const before = await jar(context, server.origin);
    await signIn(page, "bob");
    const after = await jar(context, server.origin);
    for (const name of Object.keys(before)) assert.notEqual(after[name].value, before[name].value, name);
    await page.evaluate((old) => sessionStorage.setItem("xsrfToken", old), before["XSRF-TOKEN"].value);
    const refused = await expectStatus(page, 403, "POST", "/api/write", {});
    assert.equal(refused.code, "xsrf_mismatch");
  });
  server.stop();

  for (const [sameSite, environment] of [["None", { SAME_SITE: "None" }], ["Lax", { SAME_SITE: "Lax" }]]) {
    const other = await startLab(environment);
    await checks.check(`with SameSite=${sameSite}, all cookies are stored with it and cleared at sign-out`, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, other, "fetch.html");
        await signIn(page);
        const stored = Object.values(await jar(context, other.origin));
        assert.deepEqual(stored.map((cookie) => cookie.sameSite), [sameSite, sameSite, sameSite]);
        await expectStatus(page, 204, "POST", "/api/logout");
        assert.deepEqual(await jar(context, other.origin), {});
      }),
    );
    other.stop();
  }
}
