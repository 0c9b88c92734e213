// The demo page of tower-cookie-jwt.
//
// It never sees a JWT: those are in HttpOnly cookies, which the browser sends by itself. All it holds is
// the XSRF token, which it repeats in a header to prove that a request is its own.

import { badge, byId, clock, element, parseJson, readStored, setText, store, terms } from "./dom.js";
import { gistOf, parseTrace, showExplanation, statusText } from "./explain.js";
import { makeScenarios } from "./scenarios.js";
import { graceMs, noteEnd, noteSession, noteTrace, restoreTimeline, tick } from "./timeline.js";

const XSRF_COOKIE = "XSRF-TOKEN";
const XSRF_HEADER = "X-XSRF-TOKEN";
const TOKEN_KEY = "xsrfToken";
const DEMO_USER = { username: "ada", password: "correct horse battery staple" };

const REQUEST_TIMEOUT_MS = 15_000;
const LOG_ENTRIES = 100;
const LOG_BODY_CHARS = 180;
const LONG_GRACE_MS = 5_000;
/** Set-Cookie is not for script to read. */
const TELLING_HEADERS = ["WWW-Authenticate", "Retry-After", "Cache-Control"];
const SCENARIO_BUTTONS = ["scenario-tabs", "scenario-lost", "scenario-thief", "expire"];

/** What each refusal means to the person in front of the page. */
const REFUSALS = {
  token_missing: "You are signed out: the request carried no session.",
  token_expired: "Your session has expired for good. Please sign in again.",
  token_invalid: "The server does not accept this session. Please sign in again.",
  token_ambiguous: "Cookies of two sessions came along. Remove this site's cookies and sign in again.",
  xsrf_missing: "Refused: the request had no X-XSRF-TOKEN header.",
  xsrf_mismatch: "Refused: the XSRF token is of another session, perhaps of another tab. Try again.",
  origin_refused: "Refused: the server takes no requests from this origin.",
  session_revoked: "This session was ended, here or on another device. Please sign in again.",
};

const state = {
  signedIn: false,
  /** The last /api/me: what the next one is compared with. */
  seen: null,
  /** Whole seconds since the epoch, or null while unknown. */
  expiresAt: null,
  /** The first request of the present action: the one that is explained. */
  lead: null,
  /** Whether a scenario runs. */
  acting: false,
  /** Actions run one after another. */
  queue: Promise.resolve(),
};

const dateTime = (seconds) => new Date(seconds * 1000).toLocaleString();

function cookieToken() {
  const pairs = document.cookie.split("; ").map((cookie) => cookie.split("="));
  return pairs.find(([name]) => name === XSRF_COOKIE)?.[1] || null;
}

const xsrfToken = () => readStored(TOKEN_KEY) || cookieToken();

/** Another tab has signed in: the cookie, which all tabs share, is then newer than what is stored. */
function adoptCookieToken() {
  const token = cookieToken();
  if (token) store(TOKEN_KEY, token);
}

/** Sends a request and logs it. Never throws: without an answer, the status is 0. */
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
      // A success that is not JSON comes from something in between, such as a captive portal.
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

/** Explains this request until the next action. */
function lead(entry) {
  state.lead = entry;
  showExplanation(entry, state.seen);
}

/** As `send`, within a session: an answer that says it is over changes the view. */
async function call(method, path, options) {
  const answer = await send(method, path, options);
  if (isOver(answer)) endSession(reasonOf(answer), "error");
  if (answer.code === "xsrf_mismatch") adoptCookieToken();
  return answer;
}

/**
 * An expired access token alone never gets here. So a 401 means that the refresh token does not help
 * either. Anything else (503, no network) leaves the session alone.
 */
const isOver = ({ status, code }) => status === 401 || code === "session_revoked";

function reasonOf({ status, code, body, headers }) {
  const still = state.signedIn ? " You are still signed in." : "";
  if (isUnreachable(status)) return `No answer from the server. Check the connection and try again.${still}`;
  if (status === 503) return `The server is busy just now. Please try again ${when(headers["Retry-After"])}.${still}`;
  if (status >= 500) return `The server failed (${status}). Please try again.`;
  return REFUSALS[code] ?? body?.detail ?? `Unexpected answer from the server (${status}).`;
}

const isUnreachable = (status) => status === 0;
// Retry-After may also be a date, which is of no use in a sentence.
const when = (retryAfter) => (/^\d+$/.test(retryAfter ?? "") ? `in ${retryAfter} s` : "in a moment");

function enqueue(action) {
  const begin = () => {
    state.lead = null;
    return action();
  };
  state.queue = state.queue.then(begin).catch((error) => {
    // Only a fault of this page gets here; the queue must survive it.
    console.error(error);
    say("Something went wrong in this page: please reload it.", "error");
  });
}

/**
 * Runs an action of the signed-in view, then asks /api/me whether it caused a rotation.
 * `action` resolves to `{ text, kind }` for the message.
 */
function act(action) {
  enqueueSignedIn(async () => {
    const outcome = await action();
    if (!state.signedIn) return;
    const me = outcome.unreachable ? null : await loadMe();
    // A failure of /api/me alone must not make the action look failed; the log shows it.
    if (state.signedIn) say(outcome.text + (me?.rotation ?? ""), outcome.kind);
  });
}

/** Unless there has been a sign-out meanwhile. */
const enqueueSignedIn = (action) => enqueue(() => state.signedIn && action());

/** The outcome of an answer: what to say if it succeeded, or why it did not. */
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
    return { text: "The server took an order without the header: XSRF protection is off.", kind: "error" };
  }
  if (answer.code !== "xsrf_missing") return outcomeOf(answer);
  return { text: `As it should be, the order was refused (${statusText(answer)}). A forged request fails alike.`, kind: "refused" };
}

async function endOne(session) {
  const path = `/api/sessions/${encodeURIComponent(session.id)}`;
  const answer = await call("DELETE", path, { xsrf: true });
  if (answer.ok && session.current) {
    endSession("You ended this session, and so are signed out.", "ok");
    return null;
  }
  const gone = answer.status === 404;
  if (state.signedIn && (answer.ok || gone)) {
    await loadSessions();
    // The button that had the focus is gone with its row.
    if (state.signedIn) byId("sessions-title").focus();
  }
  return gone ? { text: "That session had ended already.", kind: "refused" } : outcomeOf(answer, "Session ended.");
}

/** The whole view. /api/me goes first: it tells whether there is a session at all. */
async function loadAll(success) {
  if (!state.signedIn) return;
  const me = await loadMe();
  const answers = [me.answer];
  for (const load of [loadOrders, loadSessions]) {
    // Without a session or a network, the rest would fail alike.
    if (!state.signedIn || isUnreachable(answers.at(-1).status)) break;
    answers.push(await load());
  }
  if (!state.signedIn) return;
  const failed = answers.find((answer) => !answer.ok);
  const outcome = outcomeOf(failed ?? me.answer, success);
  say(outcome.text + me.rotation, outcome.kind);
}

/** Resolves to the answer and, if there was a rotation, a sentence that says so. */
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

/** Compares the claims with those seen before. */
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
  say(text, kind);
  byId("username").focus();
}

function say(text, kind) {
  const message = byId("message");
  message.dataset.kind = kind;
  message.textContent = text;
}

function showSignedIn(signedIn) {
  state.signedIn = signedIn;
  byId("signed-out").hidden = signedIn;
  byId("signed-in").hidden = !signedIn;
  byId("signed-in-more").hidden = !signedIn;
  allowScenarios();
  // Nothing of one person's session may be left for the next.
  byId("me").replaceChildren();
  byId("generation").textContent = "–";
  byId("rotated").hidden = true;
  showOrders([]);
  showSessions([]);
  // Not known before the list is there.
  byId("orders-empty").hidden = true;
}

/** Only within a session, and one at a time. */
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
  byId("generation").textContent = me.generation;
  byId("rotated").hidden = !rotated;
  allowScenarios();
}

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
  if (session.current) title.append(badge("this one", "ok"));
  const times = `Since ${dateTime(session.created)}, last seen ${dateTime(session.lastSeen)}`;
  const end = element("button", { type: "button", className: "danger end-session", text: "End" });
  // Every row has an "End": the name must say of what.
  end.setAttribute("aria-label", `End session: ${label}${session.current ? " (this one)" : `, ${times}`}`);
  end.addEventListener("click", () => act(() => endOne(session)));
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
      ? "Expired, and you are still signed in: your next request renews the session on the way. Try any button."
      : "An expiry is no sign-out: the first request after it renews the session on the way.",
  );
}

function logRequest(entry) {
  const { method, path, status, ok, code = "", headerSent, trace } = entry;
  const time = new Date().toLocaleTimeString();
  const rotated = trace.rotatedTo !== null;
  const badges = element(
    "p",
    { className: "badges" },
    badge(statusText(entry), ok ? "ok" : "bad"),
    badge(headerSent ? "X-XSRF-TOKEN sent" : "no X-XSRF-TOKEN", headerSent ? "header" : ""),
    badge(gistOf(entry)),
  );
  if (rotated) badges.append(badge(`rotated ${trace.rotatedTo - 1} → ${trace.rotatedTo}`, "rotated"));
  const show = element("button", { type: "button", className: "explain", text: "Explain" });
  show.setAttribute("aria-label", `Explain ${method} ${path} at ${time}`);
  show.addEventListener("click", () => {
    showExplanation(entry, state.seen);
    byId("explain-title").focus();
  });
  const mono = (text) => element("code", { text });
  const data = { method, path, status, code, xsrf: headerSent ? "sent" : "absent", rotated, events: trace.events.join(" ") };
  const head = element("p", { className: "request" }, mono(`${method} ${path}`), element("time", { text: time }));
  const body = element("div", { className: "request" }, element("p", { className: "body" }, mono(loggedBody(entry))), show);
  const log = byId("log");
  log.prepend(element("li", { data }, head, badges, body));
  while (log.children.length > LOG_ENTRIES) log.lastElementChild.remove();
  byId("log-empty").hidden = true;
}

function loggedBody({ status, text, body }) {
  if (isUnreachable(status)) return "(none)";
  if (text === "") return "(empty)";
  const shown = body === null ? text : JSON.stringify(body, hideSecrets);
  return shown.length > LOG_BODY_CHARS ? `${shown.slice(0, LOG_BODY_CHARS)}…` : shown;
}

const hideSecrets = (key, value) => (/token|password|secret/i.test(key) ? "(hidden)" : value);

function clearLog() {
  byId("log").replaceChildren();
  byId("log-empty").hidden = false;
}

const onClick = (id, listener) => byId(id).addEventListener("click", listener);

const onSubmit = (id, listener) =>
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    listener();
  });

const runScenario = makeScenarios({ call, explain: lead, me: async () => (await loadMe()).answer });

async function actScenario(name) {
  state.acting = true;
  allowScenarios();
  try {
    const { text, kind } = await runScenario(name);
    say(text, kind);
  } finally {
    state.acting = false;
    allowScenarios();
    // It has lost the focus while it was disabled.
    if (state.signedIn) byId(`scenario-${name}`).focus();
  }
}

/** As when the token's time is over, without the wait. No `act`: that would renew it at once. */
async function expireNow() {
  const answer = await call("POST", "/api/demo/expire");
  if (answer.ok) noteExpiry(0);
  const { text, kind } = outcomeOf(answer, "The access cookie is gone. Your next request renews the session on the way.");
  say(text, kind);
}

function fillDemoUser() {
  for (const [id, value] of Object.entries(DEMO_USER)) byId(id).value = value;
  byId("sign-in").focus();
}

/** The item as of the click, not as of when the queue gets to it. */
function order(place) {
  const item = byId("item").value.trim();
  // Blanks alone satisfy `required`.
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
  for (const name of ["tabs", "lost", "thief"]) onClick(`scenario-${name}`, () => enqueueSignedIn(() => actScenario(name)));
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
  // Without a token nobody has signed in here, and asking would only put a 401 on the console.
  if (mayBeSignedIn) enqueue(() => loadAll("Welcome back."));
  else say("Sign in to start. Nothing has been sent yet.", "info");
}

start();
