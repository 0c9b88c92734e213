// The generations of the session, as observed by this tab.

import { byId, element, parseJson, readStored, setText, store } from "./dom.js";

const KEY = "timeline";
const SHOWN = 6;
const SVG = "http://www.w3.org/2000/svg";

const ORIGINS = {
  "sign-in": "Signed in",
  rotation: "Rotated",
  thief: "Rotated by the thief",
  elsewhere: "First seen here",
};

const ENDS = {
  reuse: ["Reuse detected", "session revoked"],
  "sign-out": ["Signed out", "session ended"],
  ended: ["Ended", "signed out elsewhere, or expired"],
};

const empty = () => ({ session: null, generations: [], end: null });

let line = empty();
/** Seconds, from the Demo-Trace header. */
let grace = 30;

export const graceMs = () => grace * 1000;

/** Returns the session and generation known before the page was reloaded. */
export function restoreTimeline() {
  line = parseJson(readStored(KEY)) ?? empty();
  draw();
  return line.session && !line.end ? { session: line.session, generation: newest().generation } : null;
}

function changed() {
  store(KEY, JSON.stringify(line));
  draw();
}

const newest = () => line.generations.at(-1);

function add(generation, origin) {
  // The response of the rotating request may arrive after that of another one.
  const known = line.generations.find((one) => one.generation === generation);
  if (known?.origin === "elsewhere") known.origin = origin;
  if (newest()?.generation >= generation) return;
  line.generations.push({ generation, origin, at: Date.now(), confirmedAt: null });
}

/** Updates the timeline from a response. */
export function noteTrace({ trace, ok, path }) {
  if (trace.grace) grace = trace.grace;
  if (trace.events.includes("signed-in")) {
    line = empty();
    add(0, "sign-in");
  } else if (trace.rotatedTo !== null) {
    add(trace.rotatedTo, "rotation");
  } else if (trace.generation !== null) {
    add(trace.generation, "elsewhere");
    if (!trace.set.includes("refresh")) confirm(trace.generation, trace.set.includes("access"));
  } else if (ok && path === "/api/refresh" && !trace.set.includes("refresh") && newest()) {
    confirm(newest().generation, true);
  }
  if (trace.reuse) noteEnd("reuse");
  changed();
}

/**
 * A generation is confirmed by the first request with one of its tokens. If the server `renewed` the access
 * token instead of rotating, it had not settled yet, whatever this tab assumed.
 */
function confirm(generation, renewed = false) {
  const seen = newest();
  if (seen?.generation !== generation) return;
  if (!seen.confirmedAt || (renewed && msToSettle() === 0)) seen.confirmedAt = Date.now();
}

/** Updates the timeline from /api/me. */
export function noteSession({ session, generation }) {
  if (line.session && line.session !== session) line = empty();
  line.session = session;
  add(generation, "elsewhere");
  changed();
}

/** Notes a rotation that no trace reports. */
export function noteGeneration(generation, origin, note, confirmed = false) {
  add(generation, origin);
  Object.assign(newest(), { origin, note });
  if (confirmed) confirm(generation);
  changed();
}

export function noteEnd(kind) {
  if (!line.end && newest()) line.end = { kind, at: Date.now() };
  changed();
}

/** Milliseconds until the current generation has settled; null if unconfirmed. */
export function msToSettle() {
  const { confirmedAt } = newest() ?? {};
  return confirmedAt ? Math.max(0, confirmedAt + graceMs() - Date.now()) : null;
}

function draw() {
  const shown = line.generations.slice(-SHOWN);
  const rows = shown.map(generationRow);
  if (line.end) rows.push(endRow(line.end));
  byId("timeline").replaceChildren(...rows);
  byId("generations").hidden = rows.length === 0;
  tick();
}

const time = (ms) => new Date(ms).toLocaleTimeString();

const generationRow = ({ generation, origin, note, at }) =>
  row({ generation, origin }, String(generation), ORIGINS[origin], note ? `${time(at)}, ${note}` : time(at), "");

const endRow = ({ kind, at }) => row({ end: kind }, kind === "reuse" ? "!" : "■", ENDS[kind][0], time(at), ENDS[kind][1]);

const row = (data, label, what, hint, state) =>
  element(
    "li",
    { data },
    ring(label),
    element("div", {}, ...Object.entries({ what, state, hint }).map(([className, text]) => element("p", { className, text }))),
  );

/** A circle that fills during the grace period. */
function ring(label) {
  const shape = (tag, attributes, ...children) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const circle = { cx: 24, cy: 24, r: 20, pathLength: 100 };
  return shape(
    "svg",
    { viewBox: "0 0 48 48", class: "ring", "aria-hidden": "true" },
    shape("circle", { ...circle, class: "track" }),
    shape("circle", { ...circle, class: "fill" }),
    shape("text", { x: 24, y: 25, "text-anchor": "middle", "dominant-baseline": "central" }, label),
  );
}

/** Updates the rings; called regularly. */
export function tick() {
  for (const node of byId("timeline").querySelectorAll("[data-generation]")) {
    const one = line.generations.find(({ generation }) => generation === Number(node.dataset.generation));
    if (!one) continue;
    const replaced = one !== newest();
    const left = one.confirmedAt ? one.confirmedAt + graceMs() - (line.end?.at ?? Date.now()) : null;
    const settled = left !== null && left <= 0;
    node.dataset.state = settled ? "settled" : left === null ? "issued" : "confirmed";
    node.dataset.replaced = replaced;
    const share = left === null ? 0 : Math.min(100, 100 - (100 * left) / graceMs());
    node.querySelector(".fill").setAttribute("stroke-dasharray", `${settled ? 100 : share} 100`);
    setText(node.querySelector(".state"), stateText(one, replaced, settled, left));
  }
}

function stateText(one, replaced, settled, left) {
  if (replaced) return "replaced";
  if (line.end) return "ended";
  if (left === null) return "not yet confirmed";
  return settled ? "settled" : `settles in ${Math.ceil(left / 1000)} s`;
}
