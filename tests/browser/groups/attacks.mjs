// Attacks by pages of another origin on a signed-in user, with everything that a page can make a browser send.

import assert from "node:assert/strict";
import { close, expectStatus, inCarelessProfile, jar, openClient, signIn } from "../lib/browser.mjs";
import { sleep, until } from "../lib/checks.mjs";
import { startEvil } from "../lib/evil.mjs";
import { startLab } from "../lib/servers.mjs";
import { ATTACKS } from "../lib/attacks.mjs";

/** Long token lifetimes, so that any change in the cookie jar is caused by an attack. */
const SETTLED = { ACCESS_SECS: "3600" };

const DEFENCES = [
  { name: "SameSite=Strict", environment: {} },
  { name: "SameSite=None", environment: { SAME_SITE: "None" } },
  { name: "SameSite=None and CORS open to all", environment: { SAME_SITE: "None", OPEN_CORS: "1" } },
];

const ATTACKERS = [
  { name: "another port", host: "localhost", sameSite: true },
  { name: "another site", host: "127.0.0.1", sameSite: false },
];

export default async function attacks(checks) {
  const evil = await startEvil();
  for (const attacker of ATTACKERS) await theyAreReal(checks, evil, attacker);
  for (const defence of DEFENCES) {
    // Separate servers, so that the counters show the effect of this attacker only.
    const scenes = ATTACKERS.map(async (attacker) => {
      const server = await startLab({ ...SETTLED, ...defence.environment });
      await theyFail(checks, { evil, server, defence, attacker });
      server.stop();
    });
    await Promise.all(scenes);
  }
  await Promise.all(ATTACKERS.map((attacker) => expiredSession(checks, evil, attacker)));
  await trustedSister(checks, evil);
  evil.stop();
}

/** Checks that each attack succeeds without `XsrfLayer`. Otherwise the checks below would prove nothing. */
async function theyAreReal(checks, evil, attacker) {
  const server = await startLab({ ...SETTLED, SAME_SITE: "None", OPEN_CORS: "1", UNPROTECTED: "1" });
  await victim(server, async (context) => {
    for (const attack of ATTACKS.filter(({ writes }) => writes)) {
      await checks.check(`from ${attacker.name}, unprotected: ${attack.name} succeeds`, async () => {
        const before = await server.counters();
        await strike(context, { evil, server, attacker, attack });
        await until("the handler", async () => (await server.counters())(attack.writes) > before(attack.writes));
      });
    }
  });
  server.stop();
}

async function theyFail(checks, scene) {
  const { defence, attacker, server } = scene;
  await victim(server, async (context, page) => {
    for (const attack of ATTACKS) {
      await checks.check(`from ${attacker.name}, ${defence.name}: ${attack.name} changes nothing`, async () => {
        const before = await state(context, server);
        const { requests, read } = await strike(context, { ...scene, attack });
        // CORS that is open to all origins exposes the responses to safe requests, and nothing else.
        const readable = Boolean(defence.environment.OPEN_CORS) && requests.every(({ method }) => SAFE.includes(method));
        if (!readable) assert.deepEqual(read, [], "what the attacker could read");
        assert.deepEqual(await state(context, server), before, "handlers that change something, and the jar");
        for (const request of requests) refusedIfUnsafe(request, scene);
      });
    }
    await checks.check(`from ${attacker.name}, ${defence.name}: after all attacks, the user is still signed in`, async () => {
      assert.equal((await expectStatus(page, 200, "GET", "/api/me")).sub, "ada");
      await expectStatus(page, 200, "POST", "/api/write", {});
    });
    // Strict cookies are not sent with cross-site requests. In all other cases, only the origin check protects.
    const atHome = defence.name === "SameSite=Strict" && !attacker.sameSite;
    const carrying = atHome ? "no attack carried the cookies" : "most attacks carried the cookies";
    await checks.check(`from ${attacker.name}, ${defence.name}: ${carrying}`, async () => {
      const withCookies = (await server.requests()).filter(({ cookies }) => cookies.includes("__Host-access"));
      const carried = ATTACKS.filter((attack) =>
        withCookies.some(({ query }) => query.includes(`attack=${slugOf(attacker, attack)}`)),
      );
      checks.note(`from ${attacker.name}, ${defence.name}: ${carried.length} of ${ATTACKS.length} attacks carried cookies`);
      if (atHome) assert.deepEqual(carried.map(({ name }) => name), []);
      else assert.ok(carried.length > ATTACKS.length / 2, `only ${carried.length} carried cookies`);
    });
  });
}

/** Runs `body` in a profile with a signed-in user and a page of the application. */
const victim = (server, body) =>
  inCarelessProfile(async (context) => {
    const page = await openClient(context, server, "fetch.html");
    await signIn(page);
    await body(context, page);
  });

/** Returns the state that an attack could change. */
async function state(context, server) {
  const counters = await server.counters();
  const cookies = await jar(context, server.origin);
  return {
    handlers: ["writes", "uploads", "logins", "logouts", "sockets"].map((name) => [name, counters(name)]),
    cookies: Object.values(cookies).map(({ name, value, expires }) => [name, value, expires]),
  };
}

/** Runs an attack, and resolves to the requests that reached the server and to what the attacker could read. */
async function strike(context, { evil, server, attacker, attack }) {
  const slug = slugOf(attacker, attack);
  const seen = (await server.requests()).length;
  const arrived = async () => {
    const requests = (await server.requests()).slice(seen);
    return requests.filter(({ query }) => query.includes(`attack=${slug}`));
  };
  const others = context.pages();
  const page = await context.newPage();
  await page.goto(evil.address(attacker.host, attack.page, { target: server.origin, slug }));
  const to = `${server.origin}${attack.path ?? "/api/write"}?attack=${slug}`;
  // A page that has navigated away cannot return a result.
  const left = page.waitForEvent("framenavigated", { predicate: (frame) => frame === page.mainFrame() }).catch(() => {});
  const acting = page.evaluate(attack.run, { target: server.origin, evil: evil.address(attacker.host, ""), to, slug });
  const read = acting.catch(() => undefined);
  if (attack.click) await read.then(() => page.click(attack.click));
  if (attack.leave) await read.then(() => page.goto("about:blank"));
  await until(`${attack.name} to arrive`, async () => (await arrived()).length > 0);
  // A preflight may be followed by the request itself, and an attacker reads after the response.
  const readings = await Promise.race([read, left]);
  await until("answers", async () => (await arrived()).every(({ status }) => status !== null)).catch(() => {});
  const requests = await arrived();
  await Promise.all(context.pages().filter((opened) => !others.includes(opened)).map(close));
  return { requests, read: Array.isArray(readings) ? readings : [] };
}

const slugOf = (attacker, attack) => `${attacker.name} ${attack.name}`.replaceAll(/\W+/g, "-");

const SAFE = ["GET", "HEAD", "OPTIONS"];

function refusedIfUnsafe({ method, path, status, code, cookies, sets, clears }, { attacker, defence }) {
  const what = `${method} ${path} from ${attacker.name}, ${defence.name}`;
  assert.deepEqual([sets, clears], [[], []], `${what}: no cookie is set or cleared`);
  if (path === "/api/socket") return assert.ok([401, 403].includes(status), `${what}: ${status}`);
  if (SAFE.includes(method)) return;
  const outside = ["/api/login", "/api/logout", "/api/refresh"].includes(path);
  const expected = outside || cookies.includes("__Host-access") ? [403, "origin_refused"] : [401, "token_missing"];
  assert.deepEqual([status, code], expected, what);
}

/** Checks that with an expired access token, only the application itself can use the refresh cookie. */
async function expiredSession(checks, evil, attacker) {
  const server = await startLab({ ACCESS_SECS: "1", GRACE_SECS: "1", SAME_SITE: "None" });
  await checks.check(`from ${attacker.name}: nothing but opening a page rotates an expired session`, () =>
    victim(server, async (context, page) => {
      const before = await expectStatus(page, 200, "GET", "/api/me");
      await sleep(1_300);
      const { handlers } = await state(context, server);
      for (const attack of ATTACKS.filter(({ opens }) => !opens)) {
        const { requests } = await strike(context, { evil, server, attacker, attack });
        for (const { method, path, sets, clears } of requests) {
          assert.deepEqual([sets, clears], [[], []], `${attack.name}: ${method} ${path}`);
        }
      }
      assert.deepEqual((await state(context, server)).handlers, handlers);
      const after = await expectStatus(page, 200, "GET", "/api/me");
      assert.deepEqual([after.session, after.generation], [before.session, before.generation + 1]);
    }),
  );
  server.stop();
}

/** Checks that a trusted origin still has to send the XSRF token. */
async function trustedSister(checks, evil) {
  const [attacker] = ATTACKERS;
  const origin = evil.address(attacker.host, "").replace(/\/$/, "");
  const server = await startLab({ ...SETTLED, SAME_SITE: "None", TRUSTED_ORIGIN: origin });
  await checks.check("from a trusted origin: a form without the token is still refused", () =>
    victim(server, async (context) => {
      const before = await state(context, server);
      const attack = ATTACKS.find(({ name }) => name === "a form that submits itself");
      const { requests } = await strike(context, { evil, server, attacker, attack });
      assert.deepEqual(requests.map(({ status, code }) => [status, code]), [[403, "xsrf_missing"]]);
      assert.deepEqual(await state(context, server), before);
    }),
  );
  server.stop();
}
