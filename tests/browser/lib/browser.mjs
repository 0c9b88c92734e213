// Debian's Chromium, driven by playwright-core.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { sleep } from "./checks.mjs";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
// Root cannot have Chromium's own sandbox; the rest keeps it from talking to other servers than those of the tests.
const args = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const options = { executablePath, args, chromiumSandbox: process.getuid?.() !== 0 };

export const launch = (more = []) => chromium.launch({ ...options, args: [...args, ...more] });

/**
 * Like `inProfile`, in a separate browser whose user allows third-party cookies: Chromium sends cookies with
 * what another site's page loads only then, whatever `SameSite` says. An attacker would be glad of it.
 */
export async function inCarelessProfile(body) {
  const folder = mkdtempSync(join(tmpdir(), "browser-tests-"));
  mkdirSync(join(folder, "Default"));
  const preferences = { profile: { cookie_controls_mode: 0, block_third_party_cookies: false } };
  writeFileSync(join(folder, "Default", "Preferences"), JSON.stringify(preferences));
  const context = await chromium.launchPersistentContext(folder, options);
  try {
    return await body(context);
  } finally {
    await close(context);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Runs `body` in a new profile, which is deleted afterwards. */
export async function inProfile(browser, body, settings = {}) {
  const context = await browser.newContext(settings);
  try {
    return await body(context);
  } finally {
    await close(context);
  }
}

/** Closes a page or a profile; Chromium sometimes never says that a page in the middle of a navigation has gone. */
export const close = (it) => Promise.race([it.close().catch(() => {}), sleep(1_000)]);

export const shot = (page, name) =>
  page.screenshot({ path: join(import.meta.dirname, "..", "shots", `${name}.png`), fullPage: true });

/** Collects what the page puts on the console as an error, and uncaught exceptions. */
export function watchConsole(page) {
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(`uncaught: ${error.message}`));
  return errors;
}

/** Opens one of the client applications and waits until it can send. */
export async function openClient(context, server, client) {
  const page = await context.newPage();
  await page.goto(`${server.origin}/clients/${client}`);
  await page.waitForFunction(() => window.client);
  return page;
}

/** Sends a request as the client application does. */
export const send = (page, method, path, body) =>
  page.evaluate(([method, path, body]) => window.client.send(method, path, body), [method, path, body]);

/** As `send`, and the answer must have this status. */
export async function expectStatus(page, status, method, path, body) {
  const answer = await send(page, method, path, body);
  assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer.body;
}

export const signIn = (page, user = "ada") => expectStatus(page, 200, "POST", "/api/login", { user });

/** Asserts one rotation since `expired`, and allows another for each lifetime that a busy machine has taken since. */
export function rotatedOnce(before, after, expired, lifetime) {
  const rotations = after.generation - before.generation;
  const most = mostRefreshes(expired, lifetime);
  assert.equal(after.session, before.session);
  assert.ok(rotations >= 1 && rotations <= most, `${rotations} rotations, of at most ${most}`);
}

/** How often a token of this lifetime can have been refreshed since it expired. */
export const mostRefreshes = (expired, lifetime) => 1 + Math.floor((performance.now() - expired) / lifetime);

/** The cookies as the browser holds them, by name. */
export async function jar(context, origin) {
  const cookies = await context.cookies(origin);
  return Object.fromEntries(cookies.map((cookie) => [cookie.name, cookie]));
}
