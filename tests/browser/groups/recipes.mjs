// The documented recipes, whose code is extracted from their pages: see lib/recipes.mjs.

import assert from "node:assert/strict";
import { expectStatus, inProfile, jar, mostRefreshes, openClient, signIn } from "../lib/browser.mjs";
import { sleep } from "../lib/checks.mjs";
import { startEvil } from "../lib/evil.mjs";
import { codeBlocks } from "../lib/recipes.mjs";
import { startLab } from "../lib/servers.mjs";

/** The recipes only verify: what they send must arrive while the token lives, also on a busy machine. */
const ACCESS_MS = 5_000;
const QUICK = { ACCESS_SECS: "5", GRACE_SECS: "2" };

const CLIENTS = [
  { name: "fetch", file: "recipe-fetch.html" },
  { name: "axios", file: "recipe-axios.html" },
  { name: "axios, token from the body", file: "recipe-axios-body.html", environment: { XSRF_COOKIE: "0" } },
  { name: "Angular", file: "angular/index.html?recipe" },
];

export default async function recipes(checks, browser) {
  // They run concurrently, because they mostly wait.
  await Promise.all([...CLIENTS.map((client) => script(checks, browser, client)), staleCookie(checks, browser)]);
  await Promise.all([htmx(checks, browser), socket(checks, browser), subdomain(checks, browser)]);
}

async function script(checks, browser, { name, file, environment }) {
  // Each client has separate servers, because requests are counted.
  const server = await startLab({ ...QUICK, ...environment });
  const patient = await startLab(environment); // no token expires here while a client waits
  const checkOn = (server) => (sentence, body) =>
    checks.check(`${name}: ${sentence}`, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, file);
        await page.evaluate(prepareSignIn);
        await page.evaluate(() => window.enter());
        await body(page, context);
      }),
    );
  const check = checkOn(server);
  const signIns = (page) => page.evaluate(() => window.signIns);

  await check("twelve requests on an expired token all succeed with a single refresh", async (page) => {
    await expectStatus(page, 200, "POST", "/recipes/orders", {});
    await sleep(ACCESS_MS + 200);
    const expired = performance.now();
    const before = await asked(server, "/api/refresh");
    const answers = await page.evaluate(() => {
      const send = (_, n) => (n % 2 ? ["POST", "/recipes/orders", { n }] : ["GET", "/recipes/orders"]);
      return Promise.all(Array.from({ length: 12 }, send).map((request) => window.client.send(...request)));
    });
    assert.deepEqual(answers.map(({ status }) => status), Array(12).fill(200));
    const refreshes = (await asked(server, "/api/refresh")) - before;
    const most = mostRefreshes(expired, ACCESS_MS);
    assert.ok(refreshes >= 1 && refreshes <= most, `${refreshes} refreshes, of at most ${most}`);
    assert.equal(await signIns(page), 0);
  });

  await check("an ended session prompts one sign-in, after which the requests are carried out", async (page, context) => {
    await context.clearCookies();
    const before = await server.counters();
    const answers = await page.evaluate(() =>
      Promise.all(Array.from({ length: 6 }, (_, n) => window.client.send("POST", "/recipes/orders", { n }))),
    );
    assert.deepEqual(answers.map(({ status, body }) => [status, body?.by]), Array(6).fill([200, "ada"]));
    assert.equal(await signIns(page), 1);
    assert.equal((await server.counters())("orders") - before("orders"), 6, "each order once");
  });

  await check("a declined sign-in leaves the 401 and does not prompt again", async (page, context) => {
    await page.evaluate(() => (window.enter = async () => false));
    await context.clearCookies();
    await expectStatus(page, 401, "POST", "/recipes/orders", {});
    assert.equal(await signIns(page), 1);
  });

  await unavailable(checkOn(patient), patient);
  patient.stop();
  server.stop();
}

async function unavailable(check, server) {
  await check("a request refused with 503 and Retry-After is retried after that time, even a write", async (page) => {
    const started = performance.now();
    const { asked } = await expectStatus(page, 200, "POST", "/recipes/unsteady?name=write&times=1", {});
    assert.equal(asked, 2);
    assert.ok(performance.now() - started >= 5_000, "Retry-After is 5 seconds");
  });

  await check("a request refused with a 503 of unknown origin is retried if it is a read, never a write", async (page) => {
    await expectStatus(page, 503, "POST", "/recipes/unsteady?name=bare&times=1&bare=true", {});
    const { asked } = await expectStatus(page, 200, "GET", "/recipes/unsteady?name=bare-read&times=1&bare=true");
    assert.equal(asked, 2);
  });

  await check("the client gives up after four responses with 503, without signing the user out", async (page, context) => {
    const before = await asked(server, "/recipes/unsteady");
    const refused = await expectStatus(page, 503, "GET", "/recipes/unsteady?name=never&times=99");
    assert.equal(refused.code, "unavailable");
    assert.equal((await asked(server, "/recipes/unsteady")) - before, 4);
    assert.equal(await page.evaluate(() => window.signIns), 0);
    assert.ok((await jar(context, server.origin))["__Host-refresh"]);
  });
}

const asked = async (server, path) => (await server.requests()).filter((request) => request.path === path).length;

/** Runs in the page: signs in the same user, as an application's sign-in dialog would, and counts the prompts. */
function prepareSignIn() {
  window.signIns = 0;
  window.enter = async () => {
    const answer = await fetch("/api/login", { method: "POST", body: '{"user":"ada"}' });
    sessionStorage.setItem("xsrfToken", (await answer.json()).xsrfToken);
    return true;
  };
  window.signIn = () => ((window.signIns += 1), window.enter());
}

async function staleCookie(checks, browser) {
  const server = await startLab({ XSRF_COOKIE: "0" });
  await checks.check("axios, token from the body: a stale XSRF-TOKEN cookie has no effect", () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, "recipe-axios-body.html");
      const { xsrfToken } = await signIn(page);
      await page.evaluate((token) => sessionStorage.setItem("xsrfToken", token), xsrfToken);
      await context.addCookies([{ name: "XSRF-TOKEN", value: "A".repeat(24), url: server.origin }]);
      await expectStatus(page, 200, "POST", "/recipes/orders", {});
    }),
  );
  server.stop();
}

async function htmx(checks, browser) {
  const server = await startLab(QUICK);
  for (const [name, path] of [["hx-headers", "/recipes/htmx"], ["a meta tag", "/recipes/htmx?meta"]]) {
    await checks.check(`htmx, ${name}: orders, also across an expiry, and redirects to the sign-in page if signed out`, () =>
      inProfile(browser, async (context) => {
        const page = await openClient(context, server, "fetch.html");
        await signIn(page);
        await page.goto(`${server.origin}${path}`);
        const order = async () => {
          await page.evaluate(() => (document.querySelector("#answer").innerHTML = ""));
          await page.click("button");
        };
        await order();
        await page.waitForSelector("#answer b");
        await sleep(ACCESS_MS + 200);
        await order();
        await page.waitForSelector("#answer b");
        await context.clearCookies();
        await order();
        await page.waitForURL(`${server.origin}/login`);
      }),
    );
  }
  server.stop();
}

async function socket(checks, browser) {
  const server = await startLab(QUICK);
  await checks.check("WebSocket: stays open past an expiry, and ends when the user signs out elsewhere", () =>
    inProfile(browser, async (context) => {
      const page = await openClient(context, server, "fetch.html");
      const other = await openClient(context, server, "fetch.html");
      await signIn(page);
      await page.evaluate(() => {
        const socket = new WebSocket(`ws://${location.host}/recipes/socket`);
        window.heard = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
        window.ended = new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code)));
        window.say = (text) => socket.send(text);
        return new Promise((resolve) => (socket.onopen = resolve));
      });
      await sleep(ACCESS_MS + 200);
      await page.evaluate(() => window.say("still here"));
      assert.equal(await page.evaluate(() => window.heard), "still here");
      await expectStatus(other, 204, "POST", "/api/logout");
      assert.equal(await page.evaluate(() => window.ended), 4401);
    }),
  );
  server.stop();
}

async function subdomain(checks, browser) {
  const www = await startEvil(); // a page of another origin of the same site, which is trusted here
  const origin = new URL(www.address("localhost")).origin;
  const server = await startLab({ XSRF_COOKIE: "0", TRUSTED_ORIGIN: origin, OPEN_CORS: "1" });
  const code = codeBlocks().subdomain.replace("https://api.shop.example", server.origin);
  await checks.check("API subdomain: signs in, writes, and continues after a reload", () =>
    inProfile(browser, async (context) => {
      const page = await context.newPage();
      const open = async () => {
        await page.goto(www.address("localhost"));
        await page.addScriptTag({ type: "module", content: `${code}\nwindow.recipe = { api, signIn, resume };` });
        await page.waitForFunction(() => window.recipe);
      };
      const write = () => page.evaluate(async () => (await window.recipe.api("/api/write", { method: "POST" })).status);
      await open();
      assert.equal(await page.evaluate(() => window.recipe.resume()), false);
      assert.equal(await page.evaluate(() => window.recipe.signIn({ user: "ada" })), true);
      assert.equal(await write(), 200);
      await open();
      assert.equal(await write(), 403, "the reload has discarded the token in memory");
      assert.equal(await page.evaluate(() => window.recipe.resume()), true);
      assert.equal(await write(), 200);
    }),
  );
  server.stop();
  www.stop();
}
