// Cookie jars that another party has written to: refusals are clear, and there are no retry loops.

import assert from "node:assert/strict";
import { expectStatus, inProfile, jar, openClient, signIn } from "../lib/browser.mjs";
import { until } from "../lib/checks.mjs";
import { startEvil } from "../lib/evil.mjs";
import { startLab } from "../lib/servers.mjs";

const HOST_BOUND = ["__Host-access", "__Host-refresh", "XSRF-TOKEN"];

export default async function jars(checks, browser) {
  const evil = await startEvil();
  const server = await startLab();
  const check = (sentence, body) =>
    checks.check(sentence, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, "fetch.html");
        await body(page, context);
      }),
    );
  /** Sets cookies from another port of the host, given as `Set-Cookie` lines. */
  const toss = async (context, lines) => {
    const page = await context.newPage();
    await page.goto(evil.address("localhost", "toss", lines.map((line) => ["c", line])));
    await page.close();
  };

  for (const [what, value] of [
    ["garbage", "garbage"],
    ["an unsigned token", `${base64({ alg: "none", typ: "at+jwt" })}.${base64({ sub: "ada", exp: 4e9 })}.`],
    ["a token of another key", `${base64({ alg: "HS256", typ: "at+jwt" })}.${base64({ sub: "ada", exp: 4e9 })}.${"A".repeat(43)}`],
    ["nothing", ""],
    ["odd characters", '"\\x,;y"'],
  ]) {
    await check(`another port fills the jar with ${what}: a clear refusal, no cookie cleared, and sign-in works`, async (page, context) => {
      await toss(context, HOST_BOUND.map((name) => `${name}=${value}; Path=/; Secure`));
      const before = await jar(context, server.origin);
      const seen = (await server.requests()).length;
      for (const [method, path] of [["GET", "/api/read"], ["POST", "/api/write"]]) {
        const refused = await expectStatus(page, 401, method, path);
        assert.match(refused.code, /^token_(invalid|missing)$/);
      }
      assert.deepEqual(await jar(context, server.origin), before, "the jar");
      assert.equal((await server.requests()).length, seen + 2, "two requests, no more");
      await signIn(page);
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).sub, "ada");
      await expectStatus(page, 200, "POST", "/api/write");
    });
  }

  await check("another port overwrites only the access cookie: the refresh cookie restores it", async (page, context) => {
    await signIn(page);
    const before = await expectStatus(page, 200, "GET", "/api/me");
    await toss(context, ["__Host-access=garbage; Path=/; Secure; HttpOnly"]);
    assert.equal((await expectStatus(page, 200, "GET", "/api/me")).session, before.session);
    await expectStatus(page, 200, "POST", "/api/write");
  });

  await check("another port overwrites XSRF-TOKEN: writes are refused as a mismatch, and reads still work", async (page, context) => {
    const { xsrfToken } = await signIn(page);
    await toss(context, [`XSRF-TOKEN=${"A".repeat(24)}; Path=/; Secure`]);
    assert.equal((await expectStatus(page, 403, "POST", "/api/write")).code, "xsrf_mismatch");
    await expectStatus(page, 200, "GET", "/api/read");
    // The value from the sign-in response is still valid.
    await page.evaluate((token) => sessionStorage.setItem("xsrfToken", token), xsrfToken);
    await expectStatus(page, 200, "POST", "/api/write");
  });

  await check("the browser itself rejects a __Host- cookie with a longer path", async (page, context) => {
    await toss(context, ["__Host-access=garbage; Path=/api; Secure", "__Host-refresh=garbage; Path=/api; Secure"]);
    assert.deepEqual(await jar(context, `${server.origin}/api`), {});
  });

  await check("eighty unrelated cookies do not hide those of the session", async (page, context) => {
    await signIn(page);
    await toss(context, Array.from({ length: 80 }, (_, n) => `foreign${n}=${n}; Path=/`));
    await expectStatus(page, 200, "GET", "/api/me");
    await expectStatus(page, 200, "POST", "/api/write");
  });
  server.stop();

  await withoutPrefix(checks, browser, evil);
  evil.stop();
}

/** Without `__Host-`, another port can set the attacker's cookies with a longer path, which browsers send first. */
async function withoutPrefix(checks, browser, evil) {
  const server = await startLab({ INSECURE_HTTP: "1", ACCESS_SECS: "2", GRACE_SECS: "1" });
  const stolen = (context) => jar(context, server.origin);
  const evilJar = () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, "fetch.html");
      await signIn(page, "evil");
      return stolen(context);
    });
  const tossed = async (context, names) => {
    const cookies = await evilJar();
    const page = await context.newPage();
    const lines = names.map((name) => ["c", `${name}=${cookies[name].value}; Path=/api; HttpOnly`]);
    await page.goto(evil.address("localhost", "toss", lines));
    await page.close();
  };
  const check = (sentence, body) =>
    checks.check(`without the prefix, ${sentence}`, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, "fetch.html");
        await signIn(page);
        await body(page, context);
      }),
    );

  await check("a tossed access cookie from the attacker's session is ignored", async (page, context) => {
    await tossed(context, ["access"]);
    const answer = await page.evaluate(() => window.client.send("GET", "/api/me"));
    assert.deepEqual([answer.status, answer.body.sub], [200, "ada"]);
  });

  await check("a tossed pair is refused as ambiguous, no cookie is cleared, and the user never acts as the attacker", async (page, context) => {
    await tossed(context, ["access", "refresh"]);
    const before = await context.cookies(`${server.origin}/api`);
    const seen = (await server.requests()).length;
    const refused = await expectStatus(page, 401, "POST", "/api/write");
    assert.equal(refused.code, "token_ambiguous");
    const own = ({ name, path }) => name === "access" && path === "/";
    await until("the end of the user's own access cookie", async () => !(await context.cookies(`${server.origin}/api`)).some(own));
    assert.equal((await expectStatus(page, 401, "GET", "/api/read")).code, "token_ambiguous");
    assert.equal((await server.requests()).length, seen + 2, "two requests, no more");
    const names = (cookies) => cookies.map(({ name, path }) => `${name} ${path}`).sort();
    const left = names(await context.cookies(`${server.origin}/api`));
    // Only the user's own access cookie is gone, because its lifetime is over.
    assert.deepEqual(left, names(before).filter((name) => name !== "access /"));
  });
  server.stop();
}

const base64 = (object) => Buffer.from(JSON.stringify(object)).toString("base64url");
