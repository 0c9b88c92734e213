// Debian's Chromium, driven by playwright-core.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { sleep } from "./checks.mjs";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
// As root, Chromium's sandbox must be off. The flags prevent connections to servers other than those of the tests.
const args = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export const options = { executablePath, args, chromiumSandbox: process.getuid?.() !== 0 };

export const launch = (more = []) => chromium.launch({ ...options, args: [...args, ...more] });

/**
 * Runs `body` in a separate browser whose user allows third-party cookies. Otherwise Chromium sends no cookies with
 * what another site's page loads, whatever their `SameSite` attribute, which would hide attacks.
 */
export const inCarelessProfile = (body) => inProfileThat({ blocks: false }, body);

/** Runs `body` in a separate browser whose user allows or blocks third-party cookies. */
export const inProfileThat = ({ blocks }, body) =>
  withFolder(async (folder) => {
    mkdirSync(join(folder, "Default"));
    const preferences = { profile: { cookie_controls_mode: blocks ? 1 : 0, block_third_party_cookies: blocks } };
    writeFileSync(join(folder, "Default", "Preferences"), JSON.stringify(preferences));
    const context = await chromium.launchPersistentContext(folder, options);
    try {
      return await body(context);
    } finally {
      await close(context);
    }
  });

/** Runs `body` with an empty folder for a profile, which is deleted afterwards. */
export async function withFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), "browser-tests-"));
  try {
    return await body(folder);
  } finally {
    // Chromium may still be writing to it.
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
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

/** Closes a page or a profile. The wait is limited: Chromium may never report that a navigating page has closed. */
export const close = (it) => Promise.race([it.close().catch(() => {}), sleep(1_000)]);

export const shot = (page, name) =>
  page.screenshot({ path: join(import.meta.dirname, "..", "shots", `${name}.png`), fullPage: true });

/** Collects the errors on the page's console, and uncaught exceptions. */
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

/** Sends a request as the client application does, asserts the status of the response, and returns its body. */
export async function expectStatus(page, status, method, path, body) {
  const answer = await send(page, method, path, body);
  assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer.body;
}

export const signIn = (page, user = "ada") => expectStatus(page, 200, "POST", "/api/login", { user });

/** Asserts one rotation since `expired`, plus at most one for each lifetime that has passed since on a slow machine. */
export function rotatedOnce(before, after, expired, lifetime) {
  const rotations = after.generation - before.generation;
  const most = mostRefreshes(expired, lifetime);
  assert.equal(after.session, before.session);
  assert.ok(rotations >= 1 && rotations <= most, `${rotations} rotations, of at most ${most}`);
}

/** Returns how often a token of this lifetime can have been refreshed since it expired. */
export const mostRefreshes = (expired, lifetime) => 1 + Math.floor((performance.now() - expired) / lifetime);

/** Returns the cookies that the browser holds, by name. */
export async function jar(context, origin) {
  const cookies = await context.cookies(origin);
  return Object.fromEntries(cookies.map((cookie) => [cookie.name, cookie]));
}
