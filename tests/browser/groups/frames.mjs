// An application inside another site's frame: `127.0.0.1` embeds `localhost`.

import assert from "node:assert/strict";
import { expectStatus, inProfileThat, jar, openClient, signIn } from "../lib/browser.mjs";
import { sleep, until } from "../lib/checks.mjs";
import { startEvil } from "../lib/evil.mjs";
import { startLab } from "../lib/servers.mjs";

const PARTITIONED = { SAME_SITE: "None", PARTITIONED: "1" };
const ACCESS_MS = 2_000;

const USERS = [
  { name: "allows third-party cookies", blocks: false },
  { name: "blocks third-party cookies", blocks: true },
];

export default async function frames(checks) {
  const other = await startEvil();
  const server = await startLab(PARTITIONED);
  for (const user of USERS) {
    const check = (sentence, body, on = server) =>
      checks.check(`a user who ${user.name}: ${sentence}`, () =>
        inProfileThat(user, async (context) => {
          const page = await context.newPage();
          await page.goto(other.address("127.0.0.1"));
          await body(await embed(page, `${on.origin}/clients/fetch.html`), page, context);
        }),
      );
    await inFrames(check, server);
    const short = await startLab({ ...PARTITIONED, ACCESS_SECS: String(ACCESS_MS / 1_000), GRACE_SECS: "1" });
    await expiring(check, short);
    short.stop();
    await unpartitioned(check, user);
  }
  server.stop();
  other.stop();
}

async function inFrames(check, server) {
  await check("signs in and changes something in a frame with partitioned cookies", async (frame) => {
    await signIn(frame);
    assert.equal((await expectStatus(frame, 200, "GET", "/api/me")).sub, "ada");
    await expectStatus(frame, 200, "POST", "/api/write", {});
    const refused = await frame.evaluate(async () => (await fetch("/api/write", { method: "POST" })).status);
    assert.equal(refused, 403, "without the header");
    await expectStatus(frame, 204, "POST", "/api/logout");
    await expectStatus(frame, 401, "GET", "/api/me");
  });

  await check("is not signed in there by signing in in a tab, nor the other way round", async (frame, page, context) => {
    await signIn(await openClient(context, server, "fetch.html"), "bob");
    await expectStatus(frame, 401, "GET", "/api/me");
    await signIn(frame);
    assert.equal((await expectStatus(frame, 200, "GET", "/api/me")).sub, "ada");
    const tab = await openClient(context, server, "fetch.html");
    assert.equal((await expectStatus(tab, 200, "GET", "/api/me")).sub, "bob");
  });

  await check("is safe from the page around the frame", async (frame, page, context) => {
    await signIn(frame);
    const cookies = await jar(context, server.origin);
    const before = (await server.counters())("writes");
    const seen = (await server.requests()).length;
    await page.evaluate(async (target) => {
      const write = { method: "POST", mode: "no-cors", credentials: "include" };
      await fetch(`${target}/api/write?around`, write).catch(() => {});
      const form = Object.assign(document.createElement("form"), { method: "post", action: `${target}/api/write?around` });
      document.body.append(Object.assign(document.createElement("iframe"), { name: "sink" }), form);
      form.target = "sink";
      form.submit();
    }, server.origin);
    const arrived = async () => (await server.requests()).slice(seen).filter(({ query }) => query.includes("around"));
    await until("both requests", async () => (await arrived()).filter(({ status }) => status !== null).length === 2);
    for (const { status, cookies } of await arrived()) {
      assert.equal(status, cookies.includes("__Host-access") ? 403 : 401);
    }
    assert.equal((await server.counters())("writes"), before);
    assert.deepEqual(await jar(context, server.origin), cookies);
    await expectStatus(frame, 200, "POST", "/api/write", {});
  });
}

async function expiring(check, server) {
  await check(
    "stays signed in in the frame after the token has expired",
    async (frame) => {
      await signIn(frame);
      const before = await expectStatus(frame, 200, "GET", "/api/me");
      await sleep(ACCESS_MS + 500);
      const after = await expectStatus(frame, 200, "POST", "/api/write", {}).then(() => expectStatus(frame, 200, "GET", "/api/me"));
      assert.equal(after.session, before.session);
      assert.ok(after.generation > before.generation, "rotated");
    },
    server,
  );

  await check(
    "loads a document into the frame while the token is valid, which refreshes nothing once it has expired",
    async (frame, page) => {
      await signIn(frame);
      assert.deepEqual(await load(page, server, "valid"), { status: 200, sets: [] });
      await sleep(ACCESS_MS + 500);
      assert.deepEqual(await load(page, server, "expired"), { status: 401, sets: [] });
      // The script of the frame is of the application's own origin.
      const again = await embed(page, `${server.origin}/clients/fetch.html`);
      await expectStatus(again, 200, "GET", "/api/me");
    },
    server,
  );
}

async function unpartitioned(check, user) {
  const server = await startLab({ SAME_SITE: "None" });
  const outcome = user.blocks ? "is not signed in" : "is signed in";
  await check(
    `${outcome} in a frame by cookies that are not partitioned`,
    async (frame) => {
      await signIn(frame);
      await expectStatus(frame, user.blocks ? 401 : 200, "GET", "/api/me");
    },
    server,
  );
  server.stop();
}

/** Shows the address in a frame of the page, in the place of the last one. */
async function embed(page, address) {
  const element = await page.evaluateHandle((address) => {
    document.querySelector("#embedded")?.remove();
    const frame = Object.assign(document.createElement("iframe"), { id: "embedded", src: address });
    document.body.append(frame);
    return frame;
  }, address);
  const frame = await element.asElement().contentFrame();
  await frame.waitForFunction(() => window.client);
  return frame;
}

/** Loads a document that needs a user into a frame, and resolves to its status and the cookies that it sets. */
async function load(page, server, mark) {
  await page.evaluate((address) => {
    document.body.append(Object.assign(document.createElement("iframe"), { src: address }));
  }, `${server.origin}/api/me?${mark}`);
  const arrived = async () => (await server.requests()).find(({ query, status }) => query.includes(mark) && status !== null);
  await until("the document", arrived);
  const { status, sets } = await arrived();
  return { status, sets };
}
