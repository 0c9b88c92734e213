// The scenarios, run against the real server.

import { byId, element, setText, sleep } from "./dom.js";
import { graceMs, msToSettle, noteGeneration } from "./timeline.js";

/** For inexact clocks and timers. */
const MARGIN_MS = 400;
const GIVE_UP_MS = 1000;
const MEDDLED = "Perhaps another tab has refreshed in the meantime. Try again.";

class Failed extends Error {}

/**
 * Creates `run(name)`, which resolves to `{ text, kind }` for the message. `call` sends and logs a request,
 * `me` reads /api/me, `explain` explains a request.
 */
export function makeScenarios({ call, me, explain }) {
  const scenarios = { tabs: secondTab, lost: lostResponse, thief, copy: copiedCookies };

  return async function run(name) {
    begin(name);
    try {
      const { text, outcome } = await scenarios[name]();
      return finish("done", outcome, text);
    } catch (error) {
      if (error instanceof Failed) return finish("failed", "", error.message);
      throw error;
    }
  };

  async function secondTab() {
    const { generation: before } = await settled();
    await expire();
    const tab = () => expectOk(call("GET", "/api/demo/slow"));
    const both = await step("Two tabs send requests at once, with the same refresh token", () => Promise.all([tab(), tab()]));
    explain(both.find(({ trace }) => trace.rotatedTo === null) ?? both[0]);
    const rotations = both.filter(({ trace }) => trace.rotatedTo !== null).length;
    const { generation: after } = (await step("Read the generation", () => expectOk(me()))).body;
    compare(before, after);
    if (rotations !== 1) throw new Failed(`${rotations} rotations, not one. ${MEDDLED}`);
    return {
      outcome: "both-succeeded",
      text: `Both tabs got a response, with one rotation (generation ${before} → ${after}): the slower one received the same pair.`,
    };
  }

  async function lostResponse() {
    const { generation: before } = await settled();
    await expire();
    const lose = () => call("GET", "/api/demo/lost", { timeout: GIVE_UP_MS });
    const { status } = await step("Send a request that rotates; the response is discarded", lose, "lost");
    if (status !== 0) throw new Failed("The response was not lost.");
    const retry = await step("Retry with the old refresh token", () => expectOk(me()));
    explain(retry);
    const after = retry.body.generation;
    compare(before, after);
    if (after !== before + 1 || retry.trace.rotatedTo !== null) throw new Failed(MEDDLED);
    noteGeneration(after, "rotation", "first response lost");
    return {
      outcome: "continued",
      text: `The retry received generation ${after}, whose response was lost. A retry works however late it is.`,
    };
  }

  async function thief() {
    const { generation: before, session } = await settled();
    const demo = (path) => call("POST", `/api/demo/${path}`, { json: { session } });
    await step("Give a copy of the refresh token to a thief", () => expectOk(demo("steal")));
    const loot = await step("The thief refreshes with the copy and reads your data", async () => {
      const { body } = await expectOk(demo("thief"));
      if (body.status !== 200 || body.generation !== before + 1) throw new Failed(MEDDLED);
      noteGeneration(body.generation, "thief", "you still have the previous one", true);
      return body;
    });
    await wait("Wait longer than the grace period", graceMs() + MARGIN_MS);
    await expire();
    const answer = await step("You send the token that the thief has used", () => call("GET", "/api/me"), "refused");
    explain(answer);
    if (!answer.trace.reuse) throw new Failed(`The theft was not detected. ${MEDDLED}`);
    const again = await step("The thief tries again", () => demo("thief"), "refused");
    compare(before, loot.generation);
    return {
      outcome: "session-ended",
      text: `Theft detected: ${loot.name}'s old token was used again, so the session is revoked. You are signed out, and the thief gets ${again.body?.status}.`,
    };
  }

  /** Without the key of a device, copied cookies renew nothing. A session that is not bound shows the difference. */
  async function copiedCookies() {
    const { bound, session } = (await step("Check the session", () => expectOk(me()))).body;
    const demo = (path, access) => expectOk(call("POST", `/api/demo/${path}`, { json: { session, access } }));
    await step("Give a copy of all your cookies to a thief", () => demo("steal", true));
    const read = await step("The thief reads your data with the access token", () => demo("thief", true));
    if (read.body.status !== 200) throw new Failed(MEDDLED);
    if (bound) await wait("Wait longer than the grace period of the binding", graceMs() + MARGIN_MS);
    const row = addStep("The access token has expired: the thief sends the refresh token");
    const { status, code, generation } = (await demo("thief", false)).body;
    row.dataset.state = status === 200 ? "ok" : "refused";
    if (code === "device_proof_required") {
      await step("You go on", () => expectOk(me()));
      return {
        outcome: "got-nowhere",
        text: `The thief gets ${status} ${code}: the cookies lack the key, which has not left your device. You are still signed in.`,
      };
    }
    if (status !== 200) throw new Failed(MEDDLED);
    noteGeneration(generation, "thief", "with your cookies", true);
    return {
      outcome: "renewed",
      text: "This session is not bound to a device, so the copy is as good as the original, until its use is detected: see the thief above.",
    };
  }

  /** Waits until the next refresh will rotate. Sends nothing after the wait, as that might be the refresh. */
  async function settled() {
    let { body } = await step("Check the session", () => expectOk(me()));
    if (body.bound) throw new Failed("This session is bound to your device, so it does not rotate. Copy its cookies instead.");
    // If that has rotated, the next one confirms the generation.
    if (msToSettle() === null) ({ body } = await expectOk(me()));
    const left = msToSettle() ?? graceMs();
    if (left > 0) await wait("Wait until the generation has settled", left + MARGIN_MS);
    return body;
  }

  function expire() {
    return step("Let the access token expire; the refresh cookie remains", () => expectOk(call("POST", "/api/demo/expire")));
  }

  async function expectOk(answering) {
    const answer = await answering;
    if (!answer.ok) throw new Failed("The request failed. See the log and try again.");
    return answer;
  }
}

async function step(text, action, state = "ok") {
  const row = addStep(text);
  try {
    const result = await action();
    row.dataset.state = state;
    return result;
  } catch (error) {
    row.dataset.state = "refused";
    throw error;
  }
}

async function wait(text, ms) {
  const row = addStep(text);
  const until = Date.now() + ms;
  for (let left = ms; left > 0; left = until - Date.now()) {
    setText(row, `${text}: ${Math.ceil(left / 1000)} s`);
    await sleep(Math.min(left, 250));
  }
  setText(row, text);
  row.dataset.state = "ok";
}

function addStep(text) {
  const row = element("li", { text, data: { state: "running" } });
  byId("scenario-steps").append(row);
  return row;
}

function begin(name) {
  Object.assign(byId("scenario").dataset, { scenario: name, state: "running", outcome: "", before: "", after: "" });
  byId("scenario-steps").replaceChildren();
}

function compare(before, after) {
  Object.assign(byId("scenario").dataset, { before, after });
}

function finish(state, outcome, text) {
  Object.assign(byId("scenario").dataset, { outcome, state });
  return { text, kind: state === "done" ? "ok" : "error" };
}
