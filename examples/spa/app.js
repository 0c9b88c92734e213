// The demo page of tower-cookie-jwt.
//
// It never sees a JWT: those are in HttpOnly cookies, which the browser sends automatically. It only has
// the XSRF token, which it repeats in a header to prove that it made the request.

import { byId, clock, element, fact, parseJson, readStored, setText, store, tag, terms } from "./dom.js";
import { gistOf, parseTrace, showExplanation, statusText } from "./explain.js";
import { makeScenarios } from "./scenarios.js";
import { graceMs, noteEnd, noteSession, noteTrace, restoreTimeline, tick } from "./timeline.js";

const XSRF_COOKIE = "XSRF-TOKEN";
const XSRF_HEADER = "X-XSRF-TOKEN";
const TOKEN_KEY = "xsrfToken";
const DEMO_USER = { username: "ada", password: "correct horse battery staple" };

const REQUEST_TIMEOUT_MS = 15_000;
const LOG_ENTRIES = 50;
const LOG_BODY_CHARS = 1_000;
const LONG_GRACE_MS = 5_000;
/** Set-Cookie is missing because script cannot read it. */
const TELLING_HEADERS = ["WWW-Authenticate", "Retry-After", "Cache-Control"];
const SCENARIO_BUTTONS = ["scenario-tabs", "scenario-lost", "scenario-thief", "scenario-copy", "expire"];

const NO_SUPPORT = "This browser has not answered the offer. Chrome does on Windows with a TPM.";
const NO_HTTPS = "Browsers bind sessions on https only: on http they ignore the offer. With https, Chrome binds on Windows with a TPM.";

/** What each refusal means to the user. */
const REFUSALS = {
  token_missing: "You are signed out: the request carried no session.",
  token_expired: "Your session has expired. Sign in again.",
  token_invalid: "The server does not accept this session. Sign in again.",
  token_ambiguous: "The request had cookies of two sessions. Clear this site's cookies and sign in again.",
  xsrf_missing: "Refused: the request had no X-XSRF-TOKEN header.",
  xsrf_mismatch: "Refused: the XSRF token belongs to another session, perhaps from another tab. Try again.",
  origin_refused: "Refused: the server does not accept requests from this origin.",
  device_proof_required: "This session is bound to a device, which has not proven itself. Sign in again.",
  session_revoked: "This session was ended, here or on another device. Sign in again.",
};

const state = {
  signedIn: false,
  /** The last response of /api/me, to compare the next one with. */
  seen: null,
  /** Seconds since the epoch; null if unknown. */
  expiresAt: null,
  /** The first request of the current action, which is explained. */
  lead: null,
  /** Whether a scenario is running. */
  acting: false,
  /** The section of the pressed button, until its action is in the queue. */
  pressed: null,
  /** Actions run one after another. */
  queue: Promise.resolve(),
};

const message = byId("message");

const dateTime = (seconds) => new Date(seconds * 1000).toLocaleString();

function cookieToken() {
  const pairs = document.cookie.split("; ").map((cookie) => cookie.split("="));
  return pairs.find(([name]) => name === XSRF_COOKIE)?.[1] || null;
}

const xsrfToken = () => readStored(TOKEN_KEY) || cookieToken();

/** When another tab has signed in, the cookie shared by all tabs is newer than the stored token. */
function adoptCookieToken() {
  const token = cookieToken();
  if (token) store(TOKEN_KEY, token);
}

/** Sends and logs a request. Never throws: the status is 0 if there is no response. */
async function send(method, path, { json, xsrf = false, timeout = REQUEST_TIMEOUT_MS } = {}) {
  const headers = { Accept: "application/json, application/problem+json" };
  if (json) headers["Content-Type"] = "application/json";
  const token = xsrf ? xsrfToken() : null;
  if (token) headers[XSRF_HEADER] = token;

  const init = { method, headers, body: json && JSON.stringify(json), signal: AbortSignal.timeout(timeout) };
  const answer = await exchange(path, init);
  const entry = { ...answer, method, path, headerSent: Boolean(token) };
  noteTrace(entry);
  logRequest(entry);
  if (!state.lead) lead(entry);
  return entry;
}

async function exchange(path, init) {
  try {
    const response = await fetch(path, { ...init, credentials: "same-origin", cache: "no-store" });
    const text = await response.text();
    const body = parseJson(text);
    return {
      status: response.status,
      // A success that is not JSON comes from an intermediary, such as a captive portal.
      ok: response.ok && (response.status === 204 || body !== null),
      code: response.ok ? undefined : body?.code,
      headers: Object.fromEntries(TELLING_HEADERS.map((name) => [name, response.headers.get(name)])),
      trace: parseTrace(response.headers.get("Demo-Trace")),
      text,
      body,
    };
  } catch {
    return { status: 0, ok: false, text: "", body: null, trace: parseTrace(null) };
  }
}

function lead(entry) {
  state.lead = entry;
  showExplanation(entry, state.seen);
}

/** Sends a request in a session; updates the view if the response says that the session has ended. */
async function call(method, path, options) {
  const answer = await send(method, path, options);
  if (isOver(answer)) endSession(reasonOf(answer), "error");
  if (answer.code === "xsrf_mismatch") adoptCookieToken();
  return answer;
}

/**
 * An expired access token alone causes no 401, so on 401 the refresh token is invalid too. Other
 * failures (503, no network) leave the session alone.
 */
const isOver = ({ status, code }) => status === 401 || code === "session_revoked";

function reasonOf({ status, code, body, headers }) {
  const still = state.signedIn ? " You are still signed in." : "";
  if (isUnreachable(status)) return `No response from the server. Check the connection and try again.${still}`;
  if (status === 503) return `The server is unavailable. Try again ${when(headers["Retry-After"])}.${still}`;
  if (status >= 500) return `The server failed (${status}). Try again.`;
  return REFUSALS[code] ?? body?.detail ?? `Unexpected response from the server (${status}).`;
}

const isUnreachable = (status) => status === 0;
// Retry-After may also be a date, which does not fit the sentence.
const when = (retryAfter) => (/^\d+$/.test(retryAfter ?? "") ? `in ${retryAfter} s` : "in a moment");

function enqueue(action) {
  const section = state.pressed;
  state.pressed = null;
  const begin = async () => {
    state.lead = null;
    if (section?.checkVisibility()) moveMessage(section);
    await action();
    if (section) message.scrollIntoView({ block: "nearest" });
  };
  state.queue = state.queue.then(begin).catch((error) => {
    // Only bugs of this page get here; the queue must survive them.
    console.error(error);
    say("This page has failed. Reload it.", "error");
  });
}

/**
 * Runs an action of the signed-in view, then reads /api/me to see whether it caused a rotation.
 * `action` resolves to `{ text, kind }` for the message.
 */
function act(action) {
  enqueueSignedIn(async () => {
    const outcome = await action();
    if (!state.signedIn) return;
    const me = outcome.unreachable ? null : await loadMe();
    // Even if /api/me failed, the action succeeded.
    if (state.signedIn) say(outcome.text + (me?.rotation ?? ""), outcome.kind);
  });
}

/** Skips the action if the user has signed out in the meantime. */
const enqueueSignedIn = (action) => enqueue(() => state.signedIn && action());

/** The message for a response: `success`, or why it failed. */
function outcomeOf(answer, success) {
  if (answer.ok) return { text: success, kind: "ok" };
  const refused = answer.status >= 400 && answer.status < 500;
  return { text: reasonOf(answer), kind: refused ? "refused" : "error", unreachable: isUnreachable(answer.status) };
}

async function signIn() {
  const json = { username: byId("username").value, password: byId("password").value };
  const answer = await send("POST", "/api/login", { json });
  if (!answer.ok) {
    const wrong = answer.status === 401;
    say(wrong ? "Wrong username or password." : reasonOf(answer), "error");
    if (wrong) {
      byId("password").focus();
      byId("password").select();
    }
    return;
  }
  byId("password").value = "";
  store(TOKEN_KEY, answer.body.xsrfToken);
  state.seen = null;
  noteExpiry(answer.body.expiresAt);
  showSignedIn(true);
  byId("me-title").focus();
  await loadAll("Signed in.");
}

async function signOut(path, options, text) {
  const answer = await call("POST", path, options);
  if (answer.ok) endSession(text, "ok");
  else if (state.signedIn) say(reasonOf(answer), "error");
}

async function refreshNow() {
  const answer = await call("POST", "/api/refresh");
  if (answer.ok) {
    store(TOKEN_KEY, answer.body.xsrfToken);
    noteExpiry(answer.body.expiresAt);
  }
  return outcomeOf(answer, "Refreshed.");
}

async function orderWithHeader(item) {
  const answer = await call("POST", "/api/orders", { json: { item }, xsrf: true });
  if (answer.ok) addOrder(answer.body);
  return outcomeOf(answer, `Ordered: ${item}.`);
}

async function orderWithoutHeader(item) {
  const answer = await call("POST", "/api/orders", { json: { item } });
  if (answer.ok) {
    addOrder(answer.body);
    return { text: "The order was accepted: XSRF protection is off.", kind: "error" };
  }
  if (answer.code !== "xsrf_missing") return outcomeOf(answer);
  return { text: `Refused, as intended (${statusText(answer)}): a forged request has no header either.`, kind: "refused" };
}

async function endOne(session) {
  const path = `/api/sessions/${encodeURIComponent(session.id)}`;
  const answer = await call("DELETE", path, { xsrf: true });
  if (answer.ok && session.current) {
    endSession("You ended this session and are signed out.", "ok");
    return null;
  }
  const gone = answer.status === 404;
  if (state.signedIn && (answer.ok || gone)) {
    await loadSessions();
    // The focused button was removed with its row.
    if (state.signedIn) byId("sessions-title").focus();
  }
  return gone ? { text: "That session had already ended.", kind: "refused" } : outcomeOf(answer, "Session ended.");
}

/** Loads the whole view, /api/me first, as it shows whether there is a session at all. */
async function loadAll(success) {
  if (!state.signedIn) return;
  const me = await loadMe();
  const answers = [me.answer];
  for (const load of [loadOrders, loadSessions]) {
    // Without a session or a network, the rest would fail too.
    if (!state.signedIn || isUnreachable(answers.at(-1).status)) break;
    answers.push(await load());
  }
  if (!state.signedIn) return;
  const failed = answers.find((answer) => !answer.ok);
  const outcome = outcomeOf(failed ?? me.answer, success);
  say(outcome.text + me.rotation, outcome.kind);
}

/** Resolves to the response and, after a rotation, a sentence about it. */
async function loadMe() {
  const answer = await call("GET", "/api/me");
  return { answer, rotation: answer.ok ? settle(answer.body) : "" };
}

async function load(path, show) {
  const answer = await call("GET", path);
  if (answer.ok) show(answer.body);
  return answer;
}

const loadOrders = () => load("/api/orders", showOrders);
const loadSessions = () => load("/api/sessions", showSessions);

/** Compares the claims with the previous ones. */
function settle(me) {
  const before = state.seen;
  const sameSession = before?.session === me.session;
  const rotated = sameSession && me.generation > before.generation;
  if (before && !sameSession) adoptCookieToken();
  state.seen = me;
  showExplanation(state.lead, me);
  noteSession(me);
  noteExpiry(me.expiresAt);
  showMe(me, rotated);
  return rotated ? ` The tokens were rotated (generation ${before.generation} → ${me.generation}).` : "";
}

function endSession(text, kind) {
  store(TOKEN_KEY, null);
  state.seen = null;
  noteExpiry(null);
  noteEnd(kind === "ok" ? "sign-out" : "ended");
  if (state.lead) showExplanation(state.lead);
  showSignedIn(false);
  // A scenario explains the end itself, next to its button.
  if (state.acting) return;
  byId("username").focus();
  say(text, kind);
}

/**
 * Moves the message before there is an answer, as screen readers may miss the text of a live region that was just
 * inserted. A copy of the old text stays, so that nothing below it moves.
 */
function moveMessage(section) {
  const place = section.querySelector(".answer");
  message.dataset.kind = "waiting";
  if (message.parentNode === place) return;
  if (message.textContent) message.before(element("p", { className: "past", text: message.textContent }));
  message.textContent = "";
  place.append(message);
}

function say(text, kind) {
  message.previousElementSibling?.remove();
  message.dataset.kind = kind;
  message.textContent = text;
}

function showSignedIn(signedIn) {
  state.signedIn = signedIn;
  byId("signed-out").hidden = signedIn;
  byId("signed-in").hidden = !signedIn;
  byId("signed-in-more").hidden = !signedIn;
  if (!state.acting) {
    for (const place of document.querySelectorAll(".answer")) place.replaceChildren();
    moveMessage(byId(signedIn ? "signed-in" : "signed-out"));
  }
  allowScenarios();
  // One user's data must not remain for the next.
  byId("me").replaceChildren();
  byId("generation").textContent = "–";
  byId("rotated").hidden = true;
  showOrders([]);
  showSessions([]);
  // Unknown until the list has loaded.
  byId("orders-empty").hidden = true;
}

/** Scenarios need a session, and run one at a time. */
function allowScenarios() {
  for (const id of SCENARIO_BUTTONS) byId(id).disabled = !state.signedIn || state.acting;
  byId("scenario-hint").hidden = state.signedIn;
  byId("grace-hint").hidden = !state.signedIn || graceMs() <= LONG_GRACE_MS;
  byId("grace-secs").textContent = graceMs() / 1000;
}

function showMe(me, rotated) {
  byId("me").replaceChildren(...terms([
    ["Name", `${me.name} (${me.sub})`],
    ["Roles", me.roles?.join(", ") || "none"],
    ["Session", me.session],
  ]));
  showDevice(me.bound);
  byId("generation").textContent = me.generation;
  byId("rotated").hidden = !rotated;
  allowScenarios();
}

/** `bound` is null where the server offers no binding. */
function showDevice(bound) {
  for (const id of ["device", "copy-term", "copy-text", "scenario-copy"]) byId(id).hidden = bound === null;
  byId("device-tag").textContent = boundText(bound);
  byId("device-tag").classList.toggle("ok", Boolean(bound));
  byId("device-note").textContent = bound ? "Cookies alone no longer renew it." : location.protocol === "https:" ? NO_SUPPORT : NO_HTTPS;
}

const boundText = (bound) => (bound ? "bound to this device" : "not bound");

function showOrders(orders) {
  byId("orders").replaceChildren(...orders.map(orderRow));
  byId("orders-empty").hidden = orders.length > 0;
}

function addOrder(order) {
  byId("orders").append(orderRow(order));
  byId("orders-empty").hidden = true;
}

const orderRow = ({ id, item }) =>
  element("li", { data: { order: id } }, element("p", { text: item }), element("span", { className: "hint", text: `no. ${id}` }));

function showSessions(sessions) {
  byId("sessions").replaceChildren(...sessions.map(sessionRow));
}

function sessionRow(session) {
  const label = session.label || "Unnamed device";
  const title = element("p", { text: `${label} ` });
  if (session.current) title.append(tag("this device", "ok"));
  if (session.bound !== null) title.append(" ", tag(session.bound ? "bound to its device" : "not bound", session.bound ? "ok" : ""));
  const times = `Since ${dateTime(session.created)}, last seen ${dateTime(session.lastSeen)}`;
  const end = element("button", { type: "button", className: "danger end-session", text: "End" });
  // Every row has an "End" button, so the label names the session.
  end.setAttribute("aria-label", `End session: ${label}${session.current ? " (this device)" : `, ${times}`}`);
  on(end, "click", () => act(() => endOne(session)));
  const data = { session: session.id, current: Boolean(session.current) };
  return element("li", { data }, element("div", {}, title, element("p", { className: "hint", text: times })), end);
}

function noteExpiry(expiresAt) {
  state.expiresAt = expiresAt;
  showCountdown();
}

function showCountdown() {
  const known = state.expiresAt !== null;
  const left = known ? Math.max(0, Math.ceil(state.expiresAt - Date.now() / 1000)) : null;
  const expired = left === 0;
  const countdown = byId("countdown");
  countdown.dataset.expired = expired;
  setText(countdown, known ? (expired ? "expired" : clock(left)) : "–");
  setText(
    byId("expiry-note"),
    expired
      ? "Expired, but still signed in: the next request refreshes the session."
      : "Expiry does not sign you out: the next request refreshes the session.",
  );
}

function logRequest(entry) {
  const { method, path, status, ok, code = "", headerSent, trace } = entry;
  const time = new Date().toLocaleTimeString();
  const rotated = trace.rotatedTo !== null;
  const facts = element("p", { className: "facts" }, tag(statusText(entry), ok ? "ok" : "bad"));
  if (rotated) facts.append(tag(`rotated ${trace.rotatedTo - 1} → ${trace.rotatedTo}`));
  facts.append(fact(gistOf(entry)), fact(headerSent ? "X-XSRF-TOKEN sent" : "no X-XSRF-TOKEN"));
  const show = element("button", { type: "button", className: "explain", text: "Explain" });
  show.setAttribute("aria-label", `Explain ${method} ${path} at ${time}`);
  show.addEventListener("click", () => {
    showExplanation(entry, state.seen);
    byId("explain-title").focus();
  });
  const data = { method, path, status, code, xsrf: headerSent ? "sent" : "absent", rotated, events: trace.events.join(" ") };
  const head = element("p", { className: "request" }, element("code", { text: `${method} ${path}` }), element("time", { text: time }));
  const body = element("code", { className: "body", text: loggedBody(entry) });
  const log = byId("log");
  log.prepend(element("li", { data }, head, facts, body, show));
  while (log.children.length > LOG_ENTRIES) log.lastElementChild.remove();
  byId("log-empty").hidden = true;
}

function loggedBody({ status, text, body }) {
  if (isUnreachable(status)) return "(none)";
  if (text === "") return "(empty)";
  const shown = body === null ? text : JSON.stringify(body, hideSecrets, 1);
  const more = shown.length - LOG_BODY_CHARS;
  return more > 0 ? `${shown.slice(0, LOG_BODY_CHARS)} (and ${more} more characters)` : shown;
}

const hideSecrets = (key, value) => (/token|password|secret/i.test(key) ? "(hidden)" : value);

function clearLog() {
  byId("log").replaceChildren();
  byId("log-empty").hidden = false;
}

function on(node, type, listener) {
  node.addEventListener(type, (event) => {
    event.preventDefault();
    state.pressed = node.closest("section");
    listener();
  });
}

const onClick = (id, listener) => on(byId(id), "click", listener);
const onSubmit = (id, listener) => on(byId(id), "submit", listener);

const runScenario = makeScenarios({ call, explain: lead, me: async () => (await loadMe()).answer });

async function actScenario(name) {
  state.acting = true;
  allowScenarios();
  say("Running the scenario.", "waiting");
  try {
    const { text, kind } = await runScenario(name);
    say(text, kind);
  } finally {
    state.acting = false;
    allowScenarios();
    // Disabling the button has removed the focus.
    byId(state.signedIn ? `scenario-${name}` : "scenario-title").focus({ preventScroll: true });
  }
}

/** Has the effect of expiry without the wait. Not with `act`, which would refresh immediately. */
async function expireNow() {
  const answer = await call("POST", "/api/demo/expire");
  if (answer.ok) noteExpiry(0);
  const { text, kind } = outcomeOf(answer, "Deleted the access cookie. The next request refreshes the session.");
  say(text, kind);
}

function fillDemoUser() {
  for (const [id, value] of Object.entries(DEMO_USER)) byId(id).value = value;
  byId("sign-in").focus();
}

/** Reads the item now, not when the queue gets to it. */
function order(place) {
  const item = byId("item").value.trim();
  // `required` accepts blanks.
  byId("item").value = item;
  if (byId("order-form").reportValidity()) act(() => place(item));
}

function listen() {
  onSubmit("login-form", () => enqueue(signIn));
  onClick("fill-demo", fillDemoUser);
  onClick("refresh", () => act(refreshNow));
  onClick("reload", () => enqueue(() => loadAll("Reloaded.")));
  onClick("sign-out", () => enqueueSignedIn(() => signOut("/api/logout", {}, "You are signed out.")));
  onClick("sign-out-everywhere", () =>
    enqueueSignedIn(() => signOut("/api/logout-everywhere", { xsrf: true }, "You are signed out on every device.")),
  );
  onSubmit("order-form", () => order(orderWithHeader));
  onClick("order-without", () => order(orderWithoutHeader));
  onClick("reload-orders", () => act(async () => outcomeOf(await loadOrders(), "Orders listed.")));
  onClick("clear-log", clearLog);
  onClick("expire", () => enqueueSignedIn(expireNow));
  for (const name of ["tabs", "lost", "thief", "copy"]) onClick(`scenario-${name}`, () => enqueueSignedIn(() => actScenario(name)));
}

function start() {
  listen();
  state.seen = restoreTimeline();
  setInterval(() => {
    showCountdown();
    tick();
  }, 500);
  const mayBeSignedIn = Boolean(xsrfToken());
  showSignedIn(mayBeSignedIn);
  showCountdown();
  // Without a token, a request would only put a 401 on the console.
  if (mayBeSignedIn) enqueue(() => loadAll("Still signed in."));
}

start();
