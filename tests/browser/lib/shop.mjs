// A shop whose sessions are bound to devices: the server under test behind TLS, and browsers that can bind.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { close, openClient, options, signIn, withFolder } from "./browser.mjs";
import { certificate } from "./certificate.mjs";
import { until } from "./checks.mjs";
import { isRegistration, startFront } from "./front.mjs";
import { startLab } from "./servers.mjs";

/** The version whose behaviour the facts of these tests describe. */
const PINNED = 156;

/** The grace period of the shops: how long after a binding requests without a proof are still served. */
export const GRACE_MS = 4_000;
export const PAST_GRACE_MS = GRACE_MS + 200;

/** On Linux, Chromium binds sessions only with keys in software, and both only if asked. */
const FEATURES = "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting";

/**
 * Starts a shop at `https://<name>.example`. Each scenario needs a name of its own: a browser signs no more than six times
 * in nine minutes for a site.
 */
export async function startShop(name, settings = {}) {
  const front = await startFront(`${name}.example`);
  const lab = await startLab({ DEVICE: "1", PUBLIC_ORIGIN: front.origin, GRACE_SECS: String(GRACE_MS / 1_000), ...settings });
  front.upstream = lab.port;
  return {
    origin: front.origin,
    port: front.port,
    front,
    counters: lab.counters,
    /** Returns the names of the events of sessions so far. */
    events: () => lab.json("/lab/events"),
    /** Lets the store fail, or work again. */
    store: (state) => lab.post(`/lab/store/${state}`),
    stop() {
      front.stop();
      lab.stop();
    },
  };
}

/** Opens the profile in `folder`, of a browser that binds sessions. */
export const openProfile = (folder) =>
  chromium.launchPersistentContext(folder, {
    ...options,
    args: [
      ...options.args,
      `--enable-features=${FEATURES}`,
      "--host-resolver-rules=MAP *.example 127.0.0.1",
      `--ignore-certificate-errors-spki-list=${certificate().pin}`,
    ],
  });

/** Runs `body` in a new profile of a browser that binds sessions. */
export const inBindingProfile = (body) =>
  withFolder(async (folder) => {
    const context = await openProfile(folder);
    try {
      return await body(context);
    } finally {
      await close(context);
    }
  });

/** Signs in on a new page, and waits until the browser has registered a key. */
export async function signInAndRegister(context, shop) {
  const page = await openClient(context, shop, "fetch.html");
  await signIn(page);
  await registered(shop);
  return page;
}

/** Waits until a registration has been answered. */
export const registered = ({ front }) =>
  until("a registration", () => front.seen.some((entry) => isRegistration(entry) && entry.status !== undefined));

/**
 * Asserts that the session was bound once, was neither rotated nor revoked since, and that no proof was refused. `expected`
 * names what else may have happened.
 */
export async function boundOnce(shop, expected = []) {
  const events = (await shop.events()).filter((event) => !expected.includes(event));
  // If the first proof comes after the grace period of the sign-in, it rotates what it binds.
  const bound = events.indexOf("DeviceBound");
  assert.deepEqual(events.filter((event, n) => n > bound || event !== "Rotated"), ["SignedIn", "DeviceBound"]);
}

/** Lets the access cookie expire. */
export const expire = (page) => page.evaluate(async () => void (await fetch("/expire")));

/** Returns the cookies that the browser has for the shop, as a thief copies them: one header line. */
export async function copyCookies(context, shop) {
  const cookies = await context.cookies(shop.origin);
  return cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
}

/** Sends a request with curl, and resolves to the answer with its status, headers, and parsed body. */
export async function withoutBrowser(shop, cookies, path, { method = "GET", headers = {} } = {}) {
  const all = { Cookie: cookies, ...headers };
  const lines = Object.entries(all).flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
  // Certificates of a day are nobody's business here.
  const how = ["--silent", "--show-error", "--insecure", "--http1.1", "--include", "--request", method];
  const where = ["--connect-to", `::127.0.0.1:${shop.port}`, new URL(path, shop.origin).href];
  const { stdout } = await promisify(execFile)("curl", [...how, ...lines, ...where]);
  const end = stdout.indexOf("\r\n\r\n");
  const [first, ...fields] = stdout.slice(0, end).split("\r\n");
  const pairs = fields.map((field) => [field.split(":")[0].toLowerCase(), field.slice(field.indexOf(":") + 1).trim()]);
  const parsed = Object.fromEntries(pairs);
  if ("set-cookie" in parsed) parsed["set-cookie"] = pairs.filter(([name]) => name === "set-cookie").map(([, value]) => value);
  const body = parsed["content-type"]?.includes("json") ? JSON.parse(stdout.slice(end + 4)) : undefined;
  return { status: Number(first.split(" ")[1]), headers: parsed, body };
}

/**
 * Returns `fact`, which asserts what this browser does, as opposed to the crate. In a version other than the one in which
 * it was seen, a fact that no longer holds is reported, and is no failure: what the crate does is asserted beside it.
 */
export function facts(browser, note) {
  const version = Number.parseInt(browser.version(), 10);
  return function fact(sentence, body) {
    try {
      body();
    } catch (error) {
      if (version === PINNED) throw new Error(`no longer a fact: ${sentence}: ${error.message}`);
      note(`Chromium ${version}, unlike ${PINNED}: not "${sentence}": ${error.message.split("\n")[0]}`);
    }
  };
}
