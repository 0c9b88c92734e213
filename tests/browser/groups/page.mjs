// The page of the `spa` example, used as a person would.

import assert from "node:assert/strict";
import { namesOf, contrasts } from "../lib/accessibility.mjs";
import { inProfile, jar, shot, watchConsole } from "../lib/browser.mjs";
import { sleep, until } from "../lib/checks.mjs";
import { startEvil } from "../lib/evil.mjs";
import { startSpa } from "../lib/servers.mjs";

const ACCESS_MS = 4_000;
const USER = "ada";
const PASSWORD = "correct horse battery staple";
const WIDE = { viewport: { width: 1280, height: 900 } };
const NARROW = { viewport: { width: 375, height: 800 } };
const SIZES = [["1280 px", WIDE], ["375 px", NARROW]];
const WEIGHT_LIMIT = 64_000;
/** How far the message may be from the pressed button, in pixels. */
const NEAR = 120;

export default async function page(checks, browser) {
  // The lifetime must exceed the time that a sign-in and the requests after it take on a busy machine, because the
  // countdown starts with the first of them.
  const server = await startSpa({ ACCESS_SECS: String(ACCESS_MS / 1_000), GRACE_SECS: "1", LEEWAY_SECS: "0" });
  // A token must not expire in the middle of a scenario.
  const slow = await startSpa({ ACCESS_SECS: "5", GRACE_SECS: "3", LEEWAY_SECS: "0" });
  const binding = await startSpa({ DEVICE_BINDING: "1", GRACE_SECS: "1" });
  const checkOn = (server) => (sentence, body, settings = WIDE) =>
    checks.check(sentence, () =>
      inProfile(
        browser,
        async (context) => {
          const page = await context.newPage();
          const errors = watchConsole(page);
          await page.goto(server.origin);
          await body(page, context, errors);
        },
        settings,
      ),
    );
  const check = checkOn(server);
  const inTurn = async () => {
    await story(check);
    await devices(check, browser, server);
    await looks(check);
    await forEverybody(check);
  };
  const onSlow = async () => {
    await scenarios(checkOn(slow));
    await answers(checkOn(slow));
  };
  await Promise.all([inTurn(), onSlow()]);
  await withoutHttps(checkOn(binding), check);
  await embedding(checks, browser, server);
  server.stop();
  slow.stop();
  binding.stop();
}

async function story(check) {
  await check("loads without an error, and without a request to the API", async (page, context, errors) => {
    await shot(page, "signed-out");
    assert.ok(await page.isVisible("#login-form"));
    assert.equal(await page.locator("#log li").count(), 0);
    assert.deepEqual(errors, []);
  });

  await check("a wrong password is reported and does not sign in", async (page, context, errors) => {
    await fill(page, USER, "wrong");
    await page.click("#sign-in");
    await page.waitForSelector("#message[data-kind=error]");
    assert.deepEqual(await jar(context), {});
    assert.deepEqual(errors.map(isRefusal), [401]);
  });

  await check("a request after the expiry rotates, and the log shows which", async (page, context, errors) => {
    await signIn(page);
    await page.waitForSelector("#countdown[data-expired=true]");
    await page.click("#reload-orders");
    const rotated = await page.waitForSelector("#log li[data-rotated=true]");
    const facts = await rotated.evaluate(({ dataset }) => [dataset.method, dataset.path, dataset.status]);
    assert.deepEqual(facts, ["GET", "/api/orders", "200"]);
    await shows(page, "#generation", "^1$");
    await page.waitForSelector('#timeline li[data-generation="1"]');
    await shot(page, "rotated");
    assert.deepEqual(errors, []);
  });

  await check("an order with the header is accepted", async (page, context, errors) => {
    await signIn(page);
    await page.fill("#item", "A pot of green tea");
    await page.click("#order-with");
    await page.waitForSelector('#log li[data-method=POST][data-path="/api/orders"][data-status="201"][data-xsrf=sent]');
    await shows(page, "#orders", "A pot of green tea");
    assert.deepEqual(errors, []);
  });

  await check("an order without the header is refused by XsrfLayer, and the page says so", async (page, context, errors) => {
    await signIn(page);
    await page.waitForSelector("#orders li, #orders-empty:not([hidden])"); // the list has been loaded
    const orders = await page.locator("#orders li").count();
    await page.click("#order-without");
    const entry = await page.waitForSelector('#log li[data-method=POST][data-path="/api/orders"][data-xsrf=absent]');
    assert.deepEqual(await entry.evaluate(({ dataset }) => [dataset.status, dataset.code]), ["403", "xsrf_missing"]);
    await page.waitForSelector("#message[data-kind=refused]");
    await page.waitForSelector("#explain [data-layer=xsrf][data-verdict=refused]");
    await page.waitForSelector("#explain [data-layer=handler][data-verdict=skipped]");
    assert.equal(await page.locator("#orders li").count(), orders);
    await shot(page, "refused");
    assert.deepEqual(errors.map(isRefusal), [403]);
  });

  await check("a reload keeps the user signed in", async (page, context, errors) => {
    await signIn(page);
    await page.reload();
    await page.waitForSelector("#sign-out", { state: "visible" });
    await shows(page, "#me", "Ada");
    assert.deepEqual(errors, []);
  });

  await check("a manual refresh starts a new lifetime", async (page, context, errors) => {
    await signIn(page);
    await page.waitForSelector("#countdown[data-expired=true]");
    await page.click("#refresh");
    await page.waitForSelector('#log li[data-path="/api/refresh"][data-status="200"]');
    await page.waitForSelector("#countdown[data-expired=false]");
    assert.deepEqual(errors, []);
  });

  await check("sign-out clears every cookie and the page's state", async (page, context, errors) => {
    await signIn(page);
    await page.click("#sign-out");
    await page.waitForSelector("#login-form", { state: "visible" });
    assert.deepEqual(await jar(context), {});
    assert.equal(await page.evaluate(() => document.cookie + (sessionStorage.getItem("xsrfToken") ?? "")), "");
    assert.equal(await page.textContent("#me"), "");
    assert.deepEqual(errors, []);
  });

  await check("the page never shows a cookie's value or the XSRF token", async (page, context) => {
    await signIn(page);
    const values = [];
    const note = async () => values.push(...Object.values(await jar(context)).map(({ value }) => value));
    await note();
    await page.click("#order-with");
    await page.waitForSelector("#countdown[data-expired=true]");
    await page.click("#refresh");
    await page.waitForSelector('#log li[data-path="/api/refresh"]');
    await page.waitForSelector("#countdown[data-expired=false]");
    await note();
    const html = await page.content();
    for (const value of values) for (const part of value.split(".")) assert.ok(!html.includes(part), "no value is shown");
  });
}

async function devices(check, browser, server) {
  await check("both devices are listed, and ending the other one's session signs it out", async (page, context, errors) => {
    await inProfile(browser, async (phone) => {
      await signIn(page);
      await page.click("#sign-out-everywhere");
      await page.waitForSelector("#login-form", { state: "visible" });
      const other = await phone.newPage();
      await other.goto(server.origin);
      await signIn(other);
      await signIn(page);
      await page.waitForFunction(() => document.querySelectorAll("#sessions li").length === 2);
      await page.click("#sessions li[data-current=false] .end-session");
      await page.waitForFunction(() => document.querySelectorAll("#sessions li").length === 1);
      await noticed(other);
      await other.waitForSelector("#login-form", { state: "visible" });
      assert.deepEqual(await jar(phone), {}, "the other device's cookies");
      assert.ok(await page.isVisible("#sign-out"), "this one stays");
      assert.deepEqual(errors, []);
    });
  });

  await check("signing out everywhere signs out both devices", async (page, context) => {
    await inProfile(browser, async (phone) => {
      const other = await phone.newPage();
      await other.goto(server.origin);
      await signIn(other);
      await signIn(page);
      await page.click("#sign-out-everywhere");
      await page.waitForSelector("#login-form", { state: "visible" });
      assert.deepEqual(await jar(context), {});
      await noticed(other);
      await other.waitForSelector("#login-form", { state: "visible" });
    });
  });
}

/** Waits until the access token of the other device has expired, even if it was issued just now, and reloads. */
async function noticed(other) {
  await sleep(ACCESS_MS + 200);
  await other.waitForSelector("#countdown[data-expired=true]");
  await other.click("#reload");
}

async function looks(check) {
  for (const [width, size] of SIZES) {
    for (const colorScheme of ["light", "dark"]) {
      await check(`at ${width}, ${colorScheme}, nothing is cut off and all text is readable`, async (page) => {
        const inspect = async (state) => {
          await shot(page, `${state}-${width.replace(" ", "")}-${colorScheme}`);
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${state}: ${overflow} px too wide`);
          assert.deepEqual(await contrasts(page), [], `${state}: text with too little contrast`);
        };
        const brightness = await page.evaluate(() => {
          const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
          return (red + green + blue) / 3;
        });
        assert.equal(brightness < 128, colorScheme === "dark", `brightness ${brightness}`);
        await inspect("signed-out");
        await signIn(page);
        await page.click("#order-with");
        await page.waitForSelector("#orders li");
        await page.click("#order-without");
        await page.waitForSelector("#message[data-kind=refused]");
        await inspect("signed-in");
      }, { ...size, colorScheme });
    }
  }

  for (const [width, size] of SIZES) {
    await check(`at ${width}, the form comes first, and the generations appear with a session`, async (page) => {
      const { top, follows } = await page.evaluate(() => {
        const form = document.querySelector("section:has(#login-form)");
        const order = form.compareDocumentPosition(document.querySelector("#timeline"));
        return { top: form.getBoundingClientRect().top, follows: Boolean(order & Node.DOCUMENT_POSITION_FOLLOWING) };
      });
      assert.ok(follows, "the timeline comes after the form");
      assert.ok(top < 250, `the form begins at ${top} px`);
      const submit = await page.locator("#sign-in").boundingBox();
      assert.ok(submit.y + submit.height < 600, `the form ends at ${submit.y + submit.height} px`);
      assert.ok(!(await page.isVisible("#timeline")), "no empty timeline");
      await signIn(page);
      assert.ok(await page.isVisible("#timeline li"));
    }, size);

    await check(`at ${width}, the request log wraps its lines`, async (page) => {
      await signIn(page);
      await page.fill("#item", "tea".repeat(26));
      await page.click("#order-with");
      await page.waitForSelector("#log li[data-status='201']");
      await page.click("#order-without");
      await page.waitForSelector("#log li[data-status='403']");
      const cut = await page.evaluate(() =>
        [...document.querySelectorAll("#log, #log *")]
          .filter((node) => {
            const { textOverflow, overflowX, overflowY, whiteSpace } = getComputedStyle(node);
            const hides = [overflowX, overflowY].some((overflow) => overflow !== "visible");
            // Inline elements have no width of their own.
            const wide = node.clientWidth > 0 && node.scrollWidth > node.clientWidth;
            return wide || hides || textOverflow === "ellipsis" || whiteSpace === "nowrap" || node.textContent.includes("…");
          })
          .map((node) => node.outerHTML.slice(0, 80)),
      );
      assert.deepEqual(cut, []);
    }, size);
  }

  await check("the page weighs less than 64 kB, all of it from its own origin", async (page) => {
    const sizes = await page.evaluate(() =>
      [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(
        ({ name, decodedBodySize }) => [name, decodedBodySize],
      ),
    );
    const origin = new URL(page.url()).origin;
    for (const [name] of sizes) assert.equal(new URL(name).origin, origin);
    // Browsers request an icon automatically, for which the server responds with the page.
    const own = sizes.filter(([name]) => !name.endsWith("/favicon.ico"));
    const weight = own.reduce((sum, [, size]) => sum + size, 0);
    assert.ok(weight > 0 && weight < WEIGHT_LIMIT, `${weight} bytes`);
  });
}

async function forEverybody(check) {
  await check("every control has a name for screen readers, and no two buttons have the same", async (page) => {
    const inspect = async () => {
      const { nameless, buttons } = await namesOf(page);
      assert.deepEqual(nameless, []);
      // Log entries are named by the second, so their names may repeat.
      const unique = buttons.filter((name) => !name.startsWith("Explain "));
      assert.deepEqual(unique.filter((name, n) => unique.indexOf(name) !== n), []);
    };
    await inspect();
    await signIn(page);
    await page.click("#order-without");
    await page.waitForSelector("#message[data-kind=refused]");
    await inspect();
  });

  await check("the page can be used with only the keyboard, and shows where the focus is", async (page, context, errors) => {
    const focused = () => page.evaluate(() => document.activeElement.id);
    await page.keyboard.press("Tab");
    assert.match(await page.evaluate(() => document.activeElement.textContent), /skip/i);
    await page.keyboard.press("Enter");
    await tabTo(page, "username");
    await page.keyboard.type(USER);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "password");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#sign-out", { state: "visible" });
    await until("the focus on the new content", async () => (await focused()) === "me-title");
    await tabTo(page, "item");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#orders li");
    await tabTo(page, "order-without");
    await page.keyboard.press("Space");
    await page.waitForSelector("#message[data-kind=refused]");
    await tabTo(page, "sign-out", "Shift+Tab");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#login-form", { state: "visible" });
    await until("the focus to move to the user name", async () => (await focused()) === "username");
    assert.deepEqual(errors.map(isRefusal), [403]);
  });
}

async function scenarios(check) {
  await check("sign-in shows the user and starts the countdown", async (page, context, errors) => {
    await recordCountdown(page);
    await signIn(page);
    await shows(page, "#me", "Ada");
    await shows(page, "#generation", "^0$");
    await page.waitForSelector("#countdown[data-expired=true]");
    const shown = await page.evaluate(() => globalThis.shown);
    for (const text of shown) assert.match(text, /^0:0[0-5]$/);
    assert.ok(shown.length > 1, "it changes");
    assert.deepEqual(shown, shown.toSorted().reverse(), "it only counts down");
    assert.ok(await page.isVisible("#sign-out"), "an expiry is not a sign-out");
    await shot(page, "expired");
    assert.deepEqual(errors, []);
  });

  const acted = async (page, scenario) => {
    await page.click(`#scenario-${scenario}`);
    const settled = `#scenario[data-scenario=${scenario}]:is([data-state=done], [data-state=failed])`;
    const facts = await (await page.waitForSelector(settled, { timeout: 60_000 })).evaluate(({ dataset }) => ({ ...dataset }));
    await shot(page, `scenario-${scenario}`);
    return facts;
  };

  await check("a token can be expired manually, and the next request refreshes it", async (page, context, errors) => {
    await signIn(page);
    await page.click("#expire");
    await page.waitForSelector("#countdown[data-expired=true]");
    assert.deepEqual(Object.keys(await jar(context)).sort(), ["XSRF-TOKEN", "__Host-refresh"]);
    await page.click("#reload");
    await until("the access cookie", async () => "__Host-access" in (await jar(context)));
    assert.deepEqual(errors, []);
  });

  await check("the second tab: both requests succeed, with one rotation", async (page, context, errors) => {
    await signIn(page);
    const { state, outcome, before, after } = await acted(page, "tabs");
    assert.deepEqual([state, outcome, Number(after)], ["done", "both-succeeded", Number(before) + 1]);
    assert.deepEqual(errors, []);
  });

  await check("the lost response: the retry continues from there", async (page, context, errors) => {
    await signIn(page);
    const { state, outcome, before, after } = await acted(page, "lost");
    assert.deepEqual([state, outcome, Number(after)], ["done", "continued", Number(before) + 1]);
    assert.ok(await page.isVisible("#sign-out"));
    assert.deepEqual(errors.filter((error) => !/504|ERR_/.test(error)), [], "no errors except the lost response");
  });

  await check("the thief: the session ends for both, and the page shows why", async (page, context, errors) => {
    await signIn(page);
    const { state, outcome } = await acted(page, "thief");
    assert.deepEqual([state, outcome], ["done", "session-ended"]);
    await page.waitForSelector("#login-form", { state: "visible" });
    assert.deepEqual(await jar(context), {});
    await page.waitForSelector("#timeline li[data-end=reuse]");
    assert.deepEqual(errors.filter((error) => isRefusal(error) !== 401), []);
  });
}

/** Browsers bind sessions on https only, so the page says that this one is not bound. */
async function withoutHttps(check, checkOff) {
  await check("on http, a session is shown as not bound, and the page says why", async (page, context, errors) => {
    await signIn(page);
    await shows(page, "#device", "^not bound .*https");
    await shows(page, "#sessions li[data-current=true]", "not bound");
    assert.ok(await page.isVisible("#scenario-copy"));
    await shot(page, "not-bound");
    assert.deepEqual(errors, []);
  });

  await check("copied cookies of a session that is not bound work like the original", async (page, context, errors) => {
    await signIn(page);
    await page.click("#scenario-copy");
    const settled = "#scenario[data-scenario=copy]:is([data-state=done], [data-state=failed])";
    const facts = await (await page.waitForSelector(settled, { timeout: 60_000 })).evaluate(({ dataset }) => ({ ...dataset }));
    assert.deepEqual([facts.state, facts.outcome], ["done", "renewed"]);
    assert.deepEqual(errors, []);
  });

  await checkOff("where no binding is offered, the page does not speak of it", async (page) => {
    await signIn(page);
    await page.waitForSelector("#sessions li[data-current=true]");
    for (const id of ["device", "copy-term", "copy-text", "scenario-copy"]) assert.ok(!(await page.isVisible(`#${id}`)), id);
    assert.doesNotMatch(await page.textContent("#sessions"), /bound/);
  });
}

async function answers(check) {
  for (const [width, size] of SIZES) {
    await check(`at ${width}, the answer appears next to the pressed button, which stays in place`, async (page) => {
      await fill(page, USER, "wrong");
      await answered(page, "sign-in", "error");
      await page.fill("#password", PASSWORD);
      await answered(page, "sign-in", "ok");
      await answered(page, "reload", "ok");
      await page.waitForSelector("#countdown[data-expired=true]");
      await answered(page, "order-with", "ok"); // rotates, so that the timeline above grows
      await answered(page, "order-without", "refused");
      await answered(page, "reload-orders", "ok");
      await answered(page, "expire", "ok");
      await answered(page, "refresh", "ok");
      await answered(page, "sign-out", "ok");
    }, size);

    await check(`at ${width}, a scenario ends in view of its button, which stays in place`, async (page) => {
      await signIn(page);
      await answered(page, "scenario-tabs", "ok");
      await answered(page, "scenario-lost", "ok");
      await answered(page, "scenario-thief", "ok", { ends: true });
      assert.ok(!(await page.isVisible("#sign-out")), "the session has ended");
    }, size);
  }

  await check("there is one live region for messages, and it is the same one all the time", async (page) => {
    const live = () => page.locator("[role=status], [role=alert], [aria-live]").evaluateAll((nodes) => nodes.map(({ id }) => id));
    assert.deepEqual(await live(), ["message"]);
    const region = await page.$("#message");
    await signIn(page);
    await page.click("#order-with");
    await page.waitForSelector("#message[data-kind=ok]");
    assert.deepEqual(await live(), ["message"]);
    assert.ok(await region.evaluate((node) => node === document.querySelector("#message")));
  });
}

/**
 * Presses a button in the middle of the screen. Asserts that the message then is in view, near the button, and covers
 * nothing, and that the button has not moved, unless it has disappeared or the session `ends`.
 */
async function answered(page, id, kind, { ends = false } = {}) {
  const button = page.locator(`#${id}`);
  await button.evaluate((node) => node.scrollIntoView({ block: "center" }));
  const before = await button.boundingBox();
  await button.click();
  await page.waitForSelector(`#message[data-kind=${kind}]`, { timeout: 60_000 });
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const message = await page.locator("#message").boundingBox();
  assert.ok(message.y >= 0 && message.y + message.height <= page.viewportSize().height, `${id}: the message is not in view`);
  const after = (await button.isVisible()) ? await button.boundingBox() : null;
  const { y, height } = after ?? before;
  const distance = Math.max(message.y - y - height, y - message.y - message.height);
  assert.ok(distance <= NEAR, `${id}: the message is ${distance} px away`);
  if (after && !ends) assert.ok(Math.abs(after.y - before.y) <= 1, `${id} has moved by ${after.y - before.y} px`);
  assert.deepEqual(await covered(page), [], `${id}: covered by the message`);
}

/** Returns the headings, controls and texts that the message overlaps, wherever the page is scrolled to. */
const covered = (page) =>
  page.evaluate(() => {
    const message = document.querySelector("#message");
    const start = scrollY;
    const found = new Set();
    for (const target of [start, ...[...document.querySelectorAll("h2")].map((node) => node.getBoundingClientRect().top + start)]) {
      scrollTo(0, target);
      const box = message.getBoundingClientRect();
      for (const node of document.querySelectorAll("h1, h2, h3, p, li, dl, label, input, button")) {
        if (node === message || !node.checkVisibility()) continue;
        const { left, right, top, bottom } = node.getBoundingClientRect();
        if (left < box.right && right > box.left && top < box.bottom && bottom > box.top) found.add(node.outerHTML.slice(0, 80));
      }
    }
    scrollTo(0, start);
    return [...found];
  });

/** Records every text of the countdown from now on, because polling may miss some on a busy machine. */
function recordCountdown(page) {
  return page.evaluate(() => {
    const countdown = document.querySelector("#countdown");
    globalThis.shown = [];
    const note = () => /^\d/.test(countdown.textContent) && globalThis.shown.push(countdown.textContent);
    new MutationObserver(note).observe(countdown, { childList: true, characterData: true, subtree: true });
  });
}

async function embedding(checks, browser, server) {
  const evil = await startEvil();
  await checks.check("another site cannot embed the page in a frame", () =>
    inProfile(browser, async (context) => {
      const page = await context.newPage();
      const errors = watchConsole(page);
      await page.goto(evil.address("127.0.0.1"));
      await page.evaluate((target) => {
        const frame = document.createElement("iframe");
        frame.src = target;
        document.body.append(frame);
      }, server.origin);
      await until("the refusal", () => errors.some((error) => error.includes("frame-ancestors")));
    }),
  );
  evil.stop();
}

/** Waits until the element shows a text that matches. */
const shows = (page, selector, pattern) =>
  page.waitForFunction(
    ([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector).textContent),
    [selector, pattern],
  );

async function fill(page, username, password) {
  await page.fill("#username", username);
  await page.fill("#password", password);
}

async function signIn(page) {
  await fill(page, USER, PASSWORD);
  await page.click("#sign-in");
  await page.waitForSelector("#sign-out", { state: "visible" });
  await page.waitForSelector("#message[data-kind=ok]");
}

/** Presses the key until the element has the focus, and asserts that the focus is visible at every step. */
async function tabTo(page, id, key = "Tab") {
  for (let n = 0; n < 60; n += 1) {
    await page.keyboard.press(key);
    const stop = await page.evaluate(() => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(document.activeElement);
      return {
        id: document.activeElement.id,
        where: document.activeElement.outerHTML.slice(0, 80),
        shown: document.activeElement === document.body || (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none",
      };
    });
    assert.ok(stop.shown, `the focus is not visible on ${stop.where}`);
    if (stop.id === id) return;
  }
  assert.fail(`the keyboard does not reach #${id}`);
}

/** Returns the status if the error is Chromium's own message about a refused request, and the text otherwise. */
function isRefusal(error) {
  const status = error.match(/^Failed to load resource: the server responded with a status of (\d+)/)?.[1];
  return status ? Number(status) : error;
}
