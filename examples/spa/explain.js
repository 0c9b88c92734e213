// Explains which layer acted on a request and why, from the Demo-Trace header, which only this demo sends.
// It contains the names of cookies and events, but no values.

import { byId, element, fact, tag, terms } from "./dom.js";

/** Routes outside the layers, which must work without a session. */
const OUTSIDE = {
  "/api/login": ({ ok }) => ["Login handler", ok ? "Checked the password and called sessions.sign_in: a session at generation 0 with a new id, secret and XSRF token." : "Wrong username or password: no cookie is set."],
  "/api/logout": () => ["Logout handler", "sessions.sign_out ended the session and cleared the cookies, without asking for an XSRF header."],
  "/api/refresh": (entry) => ["Refresh service", refreshText(entry)],
};

const demoRoute = () => ["Demo route", "Outside the layers. No real application has it."];

const REUSE = "Reuse detected: this token's successor has been in use for longer than the grace period, so a copy exists. The session is revoked, and the cookies are cleared.";

/** `a=b; c=d e`: each value is a list of words. */
export function parseTrace(header) {
  const pairs = (header ?? "").split("; ").map((pair) => pair.split("="));
  const words = Object.fromEntries(pairs.map(([name, value = ""]) => [name, value.split(" ").filter(Boolean)]));
  const { sent = [], events = [], set = [], cleared = [], reached = [], generation = [], grace = [] } = words;
  const number = ([first]) => (first === undefined ? null : Number(first));
  return {
    sent,
    events,
    set,
    cleared,
    reached: reached[0] === "yes",
    generation: number(generation),
    grace: number(grace),
    /** The generation created by this request, or null. */
    rotatedTo: number(events.filter((event) => event.startsWith("rotated:")).map((event) => event.slice(8))),
    reuse: events.some((event) => event.startsWith("reuse:")),
  };
}

/** One step per component that took part. */
function stepsOf(entry) {
  if (entry.status === 0) {
    const lost = entry.path.endsWith("/lost") ? "The server rotated and discarded the response: no cookie arrived." : "";
    return [{ layer: "service", name: "No response", verdict: "refused", text: `${lost} The session is kept.` }];
  }
  const outside = OUTSIDE[entry.path] ?? (entry.method === "POST" && entry.path.startsWith("/api/demo/") && demoRoute);
  if (outside) {
    const [name, text] = outside(entry);
    return [{ layer: "service", name, verdict: entry.ok ? "acted" : "refused", text }];
  }
  let over = false;
  return Object.entries(LAYERS).map(([layer, [name, verdictOf]]) => {
    const [verdict, text] = over ? ["skipped", "Not reached."] : verdictOf(entry);
    over ||= verdict === "refused";
    return { layer, name, verdict, text };
  });
}

const LAYERS = { refresh: ["RefreshLayer", refreshLayer], jwt: ["CookieJwtLayer", cookieJwtLayer], xsrf: ["XsrfLayer", xsrfLayer], handler: ["Handler", handler] };

/** In a few words: which component refused or acted. */
export function gistOf(entry) {
  const steps = stepsOf(entry);
  const { name, verdict } = steps.find(({ verdict }) => verdict === "refused") ?? steps.find(({ verdict }) => verdict === "acted") ?? steps.at(-1);
  return `${name} ${verdict}`;
}

function refreshText({ status, trace: { reuse, rotatedTo, set } }) {
  if (status === 503) return "The store is down, and a refresh was needed. Nothing is cleared.";
  if (reuse) return REUSE;
  if (rotatedTo !== null) return `The refresh token is valid and its generation has settled: rotated to generation ${rotatedTo}.`;
  if (set.includes("refresh")) return "The refresh token is of the previous generation; the response with the new pair may have been lost. Sent the same pair again, without a second rotation.";
  if (set.includes("access")) return "The generation has not settled yet: issued a new access token and kept the refresh token.";
  return "There is no refresh token of a live session.";
}

function refreshLayer(entry) {
  const { code, status, trace } = entry;
  if (code === "token_ambiguous") return ["refused", "Cookies of two sessions: it is unclear whose request this is."];
  if (status === 503 && !trace.reached) return ["refused", refreshText(entry)];
  if (trace.set.length > 0 || trace.reuse) return ["acted", `No valid access token. ${refreshText(entry)}`];
  if (trace.cleared.length > 0 && !trace.reached) return ["acted", "The session has ended: cleared its cookies."];
  if (trace.sent.includes("access")) return ["passed", "The access token is valid. Its generation is confirmed if it is new."];
  // The handler's own cookies replaced the layer's.
  if (trace.reached) return ["acted", "No valid access token, but a valid refresh token."];
  return ["passed", "Nothing to refresh with."];
}

function cookieJwtLayer({ code, status, trace }) {
  if (code === "device_proof_required") return ["refused", "The session is bound to a device, which has not proven itself. Nothing is cleared."];
  if (status === 401) return ["refused", code === "token_missing" ? "No token: not signed in." : "No valid token, and no live session to refresh it."];
  const token = trace.set.includes("access") ? "The new token" : "The token in the cookie";
  return ["passed", `${token} is valid (signature, type, expiry): its claims are in the request's extensions.`];
}

function xsrfLayer({ code, method, headerSent }) {
  if (code === "xsrf_missing") return ["refused", `X-XSRF-TOKEN is missing. Cookies do not prove that this page sent the ${method}: any site can make a browser send it.`];
  if (code === "xsrf_mismatch") return ["refused", "X-XSRF-TOKEN does not match the xsrfToken claim of this token."];
  if (code === "origin_refused") return ["refused", "The request comes from another origin."];
  return ["passed", headerSent ? "Same origin, and X-XSRF-TOKEN equals the xsrfToken claim in the signed token." : `${method} is a safe method: no proof is needed.`];
}

function handler({ status, trace }) {
  return trace.reached ? ["acted", `Ran as the signed-in user and responded with ${status}.`] : ["skipped", "Did not run."];
}

/** Script cannot read Set-Cookie, so the names come from the trace. */
function headerRows({ trace: { set, cleared }, headers = {} }) {
  const rows = Object.entries(headers).filter(([, value]) => value);
  if (set.length > 0) rows.push(["Set-Cookie", `${set.join(", ")} (names only)`]);
  if (cleared.length > 0) rows.push(["Set-Cookie", `clears ${cleared.join(", ")}`]);
  return rows;
}

/** The claims as in the token, except the XSRF value. */
const claimRows = (me) => [
  ["sub", me.sub],
  ["name", me.name],
  ["roles", me.roles?.join(" ")],
  ["sid", me.session],
  ["gen", me.generation],
  ["exp", `${me.expiresAt} (${new Date(me.expiresAt * 1000).toLocaleTimeString()})`],
  ["xsrfToken", "(hidden)"],
];

export const statusText = ({ status, code }) => (status === 0 ? "no response" : code ? `${status} ${code}` : String(status));

/** Shows a log entry in full, and the current claims. */
export function showExplanation(entry, me) {
  const { method, path, status, ok, code = "", trace, headerSent } = entry;
  Object.assign(byId("explain").dataset, { method, path, status, code });
  const cookies = trace.sent.filter((name) => name !== "XSRF-TOKEN").join(" + ") || "none";
  byId("explain-request").replaceChildren(
    element("code", { text: `${method} ${path}` }),
    tag(statusText(entry), ok ? "ok" : "bad"),
    fact(`cookies: ${cookies}`),
    fact(`X-XSRF-TOKEN: ${headerSent ? "sent" : "none"}`),
  );
  byId("explain-steps").replaceChildren(...stepsOf(entry).map(stepRow));
  const rows = headerRows(entry);
  byId("explain-headers").replaceChildren(...terms(rows));
  byId("explain-headers-part").hidden = rows.length === 0;
  byId("explain-claims").replaceChildren(...terms(me?.sub ? claimRows(me) : []));
  byId("explain-claims-part").hidden = !me?.sub;
}

const MARKS = { acted: "●", passed: "✓", refused: "✕", skipped: "–" };

const stepRow = ({ layer, name, verdict, text }) =>
  element(
    "li",
    { data: { layer, verdict } },
    element("span", { className: "lamp", text: MARKS[verdict], ariaHidden: "true" }),
    element("div", {}, element("p", {}, element("strong", { text: `${name} ` }), element("span", { text: verdict })), element("p", { className: "hint", text })),
  );
