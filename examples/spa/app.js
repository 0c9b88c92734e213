// The demo page of tower-cookie-jwt.
//
// The page never sees a JWT: those are in HttpOnly cookies, which the browser sends by itself. All it
// holds is the XSRF token, which it repeats in a header to prove that a request is its own.
"use strict";

const XSRF_COOKIE = "XSRF-TOKEN";
const XSRF_HEADER = "X-XSRF-TOKEN";
const TOKEN_KEY = "xsrfToken";
const SEEN_KEY = "lastSeenGeneration";
const DEMO_USER = { username: "ada", password: "correct horse battery staple" };

const REQUEST_TIMEOUT_MS = 15_000;
const LOG_ENTRIES = 100;
const LOG_BODY_CHARS = 180;

/** What each refusal means to the person in front of the page. */
const REFUSALS = {
  token_missing: "You are signed out: the request carried no session.",
  token_expired: "Your session has expired for good. Please sign in again.",
  token_invalid: "The server does not accept this session. Please sign in again.",
  token_ambiguous: "The browser sent two cookies of one name. Remove this site's cookies and sign in again.",
  xsrf_missing: "Refused: the request had no X-XSRF-TOKEN header.",
  xsrf_mismatch: "Refused: the XSRF token is that of another session, perhaps of a sign-in in another tab. Try again.",
  origin_refused: "Refused: the server does not take requests from this origin.",
  session_revoked: "This session was ended, here or on another device. Please sign in again.",
  insufficient_scope: "Refused: your account may not do that.",
};

const state = {
  signedIn: false,
  /** Session and generation as of the last /api/me: what the next one is compared with. */
  seen: null,
  /** Whole seconds since the epoch, or null while unknown. */
  expiresAt: null,
  /** Requests since the last /api/me: one of them caused the rotation that the next one shows. */
  unsettled: [],
  /** Actions run one after another, or a rotation could not be told to belong to one request. */
  queue: Promise.resolve(),
};

// ---------------------------------------------------------------- small helpers

const byId = (id) => document.getElementById(id);

/** An element with text and children. Text only, never HTML: what servers say is not markup. */
function element(tag, { className, text, data = {}, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  Object.assign(node.dataset, data);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

const dateTime = (seconds) => new Date(seconds * 1000).toLocaleString();

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// ---------------------------------------------------------------- storage

// A browser may forbid storage, and then even looking at it throws. The readable cookie still serves.

function readStored(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch {
    // Nothing is lost but the convenience.
  }
}

function cookieToken() {
  const prefix = `${XSRF_COOKIE}=`;
  const pair = document.cookie.split("; ").find((cookie) => cookie.startsWith(prefix));
  return pair ? pair.slice(prefix.length) || null : null;
}

const xsrfToken = () => readStored(TOKEN_KEY) || cookieToken();

/** Another tab has signed in: the cookie, which all tabs share, is then newer than what is stored. */
function adoptCookieToken() {
  const token = cookieToken();
  if (token) store(TOKEN_KEY, token);
}

function remember(seen) {
  state.seen = seen;
  // Kept over a reload, so that a rotation by the very first request shows too.
  store(SEEN_KEY, seen && JSON.stringify(seen));
}

// ---------------------------------------------------------------- requests

/** Sends a request and logs it. Never throws: without an answer, the status is 0. */
async function send(method, path, { json, xsrf = false } = {}) {
  const headers = { Accept: "application/json, application/problem+json" };
  if (json) headers["Content-Type"] = "application/json";
  const token = xsrf ? xsrfToken() : null;
  if (token) headers[XSRF_HEADER] = token;

  const answer = await exchange(path, { method, headers, body: json && JSON.stringify(json) });
  state.unsettled.push(logRequest({ method, path, headerSent: Boolean(token) }, answer));
  return answer;
}

async function exchange(path, init) {
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await fetch(path, { ...init, signal, credentials: "same-origin", cache: "no-store" });
    const text = await response.text();
    const body = parseJson(text);
    return {
      status: response.status,
      // A success that is not JSON comes from something in between, such as a captive portal.
      ok: response.ok && (response.status === 204 || body !== null),
      code: body?.code,
      retryAfter: response.headers.get("Retry-After"),
      text,
      body,
    };
  } catch {
    return { status: 0, ok: false, text: "", body: null };
  }
}

/** As `send`, within a session: an answer that says it is over changes the view. */
async function call(method, path, options) {
  const answer = await send(method, path, options);
  if (isOver(answer)) endSession(explain(answer), "error");
  if (answer.code === "xsrf_mismatch") adoptCookieToken();
  return answer;
}

/**
 * An expired access token alone never gets here, the server rotates it on the way. So a 401 means that
 * the refresh token does not help either. Anything else (503, no network) leaves the session alone.
 */
const isOver = ({ status, code }) => status === 401 || code === "session_revoked";

function explain({ status, code, body, retryAfter }) {
  const still = state.signedIn ? " You are still signed in." : "";
  if (isUnreachable(status)) return `No answer from the server. Check the connection and try again.${still}`;
  if (status === 503) return `The server is busy just now. Please try again ${when(retryAfter)}.${still}`;
  if (status >= 500) return `The server failed (${status}). Please try again.`;
  return REFUSALS[code] ?? body?.title ?? `Unexpected answer from the server (${status}).`;
}

const isUnreachable = (status) => status === 0;
// Retry-After may also be a date, which is of no use in a sentence.
const when = (retryAfter) => (/^\d+$/.test(retryAfter ?? "") ? `in ${retryAfter} s` : "in a moment");

// ---------------------------------------------------------------- actions

function enqueue(action) {
  state.queue = state.queue.then(action).catch((error) => {
    // Only a fault of this page gets here; the queue must survive it.
    console.error(error);
    say("Something went wrong in this page. Reload it and try again.", "error");
  });
}

/**
 * Runs an action of the signed-in view, then asks /api/me whether it caused a rotation.
 * `action` resolves to `{ text, kind }` for the message.
 */
function act(action) {
  enqueue(async () => {
    // Queued before a sign-out that has happened meanwhile.
    if (!state.signedIn) return;
    const outcome = await action();
    if (!state.signedIn) return;
    const me = outcome.unreachable ? null : await loadMe();
    // A failure of /api/me alone must not make the action look failed; the log shows it.
    if (state.signedIn) say(outcome.text + (me?.rotation ?? ""), outcome.kind);
  });
}

/** The outcome of an answer: what to say if it succeeded, or why it did not. */
function outcomeOf(answer, success) {
  if (answer.ok) return { text: success, kind: "ok" };
  const refused = answer.status >= 400 && answer.status < 500;
  return { text: explain(answer), kind: refused ? "refused" : "error", unreachable: isUnreachable(answer.status) };
}

async function signIn() {
  const json = { username: byId("username").value, password: byId("password").value };
  const answer = await send("POST", "/api/login", { json });
  if (!answer.ok) {
    const wrong = answer.status === 401;
    say(wrong ? "Wrong username or password." : explain(answer), "error");
    if (wrong) {
      byId("password").focus();
      byId("password").select();
    }
    return;
  }
  byId("password").value = "";
  store(TOKEN_KEY, answer.body.xsrfToken);
  // A new session, whose generations have nothing to do with those of the last.
  remember(null);
  noteExpiry(answer.body.expiresAt);
  showSignedIn(true);
  byId("me-title").focus();
  await loadAll("Signed in.");
}

async function signOut(path, options, text) {
  if (!state.signedIn) return;
  const answer = await call("POST", path, options);
  if (answer.ok) endSession(text, "ok");
  else if (state.signedIn) say(explain(answer), "error");
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
  return {
    text: `As it should be, the order was refused (${answer.status} ${answer.code}). A forged request fails alike.`,
    kind: "refused",
  };
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

// ---------------------------------------------------------------- loading

/** Everything of the signed-in view. /api/me goes first: it tells whether there is a session at all. */
async function loadAll(success) {
  if (!state.signedIn) return;
  const me = await loadMe();
  const answers = [me.answer];
  for (const load of [loadOrders, loadSessions]) {
    // Without a session or a network, the rest would fail alike.
    if (!state.signedIn || isUnreachable(answers.at(-1).status)) break;
    answers.push(await load());
  }
  // They ran right after /api/me; a rotation seen much later is not theirs.
  if (me.answer.ok) state.unsettled = [];
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

async function loadOrders() {
  const answer = await call("GET", "/api/orders");
  if (answer.ok) showOrders(answer.body);
  return answer;
}

async function loadSessions() {
  const answer = await call("GET", "/api/sessions");
  if (answer.ok) showSessions(answer.body);
  return answer;
}

/**
 * Compares the generation with the one seen before and marks the request that must have raised it. (A
 * rotation in another tab is put down to a request of this one: the page cannot tell.)
 */
function settle(me) {
  const before = state.seen;
  const sameSession = before?.session === me.session;
  const rotated = sameSession && me.generation > before.generation;
  if (before && !sameSession) adoptCookieToken();
  if (rotated) markRotated(firstServed(state.unsettled), before.generation, me.generation);
  state.unsettled = [];
  remember({ session: me.session, generation: me.generation });
  noteExpiry(me.expiresAt);
  showMe(me, rotated);
  return rotated ? ` The tokens were rotated (generation ${before.generation} → ${me.generation}).` : "";
}

/** A request that failed on the server's side did not rotate; the last, /api/me itself, did not fail. */
const firstServed = (entries) => entries.find(({ status }) => status > 0 && status < 500);

function endSession(text, kind) {
  store(TOKEN_KEY, null);
  remember(null);
  noteExpiry(null);
  state.unsettled = [];
  showSignedIn(false);
  say(text, kind);
  byId("username").focus();
}

// ---------------------------------------------------------------- view

function say(text, kind) {
  const message = byId("message");
  message.dataset.kind = kind;
  message.textContent = text;
}

function showSignedIn(signedIn) {
  state.signedIn = signedIn;
  byId("signed-out").hidden = signedIn;
  byId("signed-in").hidden = !signedIn;
  // Nothing of one person's session may be left for the next.
  byId("me").replaceChildren();
  byId("generation").textContent = "–";
  byId("rotated").hidden = true;
  showOrders([]);
  showSessions([]);
  // Not known before the list is there.
  byId("orders-empty").hidden = true;
}

function showMe(me, rotated) {
  const claims = {
    Name: me.name,
    Subject: me.sub,
    Roles: me.roles?.join(", ") || "none",
    Session: me.session,
    Expires: dateTime(me.expiresAt),
  };
  const rows = Object.entries(claims).flatMap(([name, value]) => [
    element("dt", { text: name }),
    element("dd", { text: value ?? "–" }),
  ]);
  byId("me").replaceChildren(...rows);
  byId("generation").textContent = me.generation;
  byId("rotated").hidden = !rotated;
}

function showOrders(orders) {
  byId("orders").replaceChildren(...orders.map(orderRow));
  byId("orders-empty").hidden = orders.length > 0;
}

function addOrder(order) {
  byId("orders").append(orderRow(order));
  byId("orders-empty").hidden = true;
}

const orderRow = (order) =>
  element(
    "li",
    { data: { order: order.id } },
    element("div", {}, element("p", { text: order.item })),
    element("span", { className: "hint", text: `no. ${order.id}` }),
  );

function showSessions(sessions) {
  byId("sessions").replaceChildren(...sessions.map(sessionRow));
}

function sessionRow(session) {
  const label = session.label || "Unnamed device";
  const title = element("p", { text: `${label} ` });
  if (session.current) title.append(element("span", { className: "badge ok", text: "this one" }));
  const times = `Since ${dateTime(session.created)}, last seen ${dateTime(session.lastSeen)}`;
  const end = element("button", { type: "button", className: "danger end-session", text: "End" });
  // Every row has an "End": the name must say of what.
  end.setAttribute("aria-label", `End session: ${label}${session.current ? " (this one)" : `, ${times}`}`);
  end.addEventListener("click", () => act(() => endOne(session)));
  return element(
    "li",
    { data: { session: session.id, current: Boolean(session.current) } },
    element("div", {}, title, element("p", { className: "hint", text: times })),
    end,
  );
}

// ---------------------------------------------------------------- countdown

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
      ? "Expired, and you are still signed in: your next request rotates the tokens on the way. Try any button."
      : "An expiry is not a sign-out: the first request after it rotates the tokens transparently.",
  );
}

/** Leaves equal text alone: a live region would be read out again every second. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

// ---------------------------------------------------------------- log

/** Adds an entry; returns it for a later `markRotated`. */
function logRequest({ method, path, headerSent }, answer) {
  const { status, code } = answer;
  const now = new Date();
  const badges = element(
    "p",
    { className: "badges" },
    element("span", { className: `badge ${answer.ok ? "ok" : "bad"}`, text: statusText(status, code) }),
    element("span", {
      className: headerSent ? "badge header" : "badge",
      text: headerSent ? "X-XSRF-TOKEN sent" : "no X-XSRF-TOKEN",
    }),
  );
  const request = element(
    "p",
    { className: "request" },
    element("code", { text: `${method} ${path}` }),
    element("time", { dateTime: now.toISOString(), text: now.toLocaleTimeString() }),
  );
  const node = element(
    "li",
    { data: { method, path, status, code: code ?? "", xsrf: headerSent ? "sent" : "absent", rotated: false } },
    request,
    badges,
    element("p", { className: "body" }, element("code", { text: loggedBody(answer) })),
  );
  const log = byId("log");
  log.prepend(node);
  while (log.children.length > LOG_ENTRIES) log.lastElementChild.remove();
  byId("log-empty").hidden = true;
  return { status, node, badges };
}

function markRotated({ node, badges }, from, to) {
  node.dataset.rotated = true;
  badges.append(element("span", { className: "badge rotated", text: `rotated ${from} → ${to}` }));
}

function statusText(status, code) {
  if (isUnreachable(status)) return "no answer";
  return code ? `${status} ${code}` : String(status);
}

function loggedBody({ status, text, body }) {
  if (isUnreachable(status)) return "(none)";
  if (text === "") return "(empty)";
  const shown = withoutTokens(body === null ? text : JSON.stringify(body, hideSecrets));
  return shown.length > LOG_BODY_CHARS ? `${shown.slice(0, LOG_BODY_CHARS)}…` : shown;
}

const hideSecrets = (key, value) => (/token|password|secret/i.test(key) ? "(hidden)" : value);

/** For bodies that repeat the token where no key gives it away. */
function withoutTokens(text) {
  const tokens = [readStored(TOKEN_KEY), cookieToken()].filter(Boolean);
  return tokens.reduce((hidden, token) => hidden.replaceAll(token, "(hidden)"), text);
}

function clearLog() {
  byId("log").replaceChildren();
  byId("log-empty").hidden = false;
}

// ---------------------------------------------------------------- start

function onClick(id, listener) {
  byId(id).addEventListener("click", listener);
}

function onSubmit(id, listener) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    listener();
  });
}

function fillDemoUser() {
  byId("username").value = DEMO_USER.username;
  byId("password").value = DEMO_USER.password;
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
  onClick("sign-out", () => enqueue(() => signOut("/api/logout", {}, "You are signed out.")));
  onClick("sign-out-everywhere", () =>
    enqueue(() => signOut("/api/logout-everywhere", { xsrf: true }, "You are signed out on every device.")),
  );
  onSubmit("order-form", () => order(orderWithHeader));
  onClick("order-without", () => order(orderWithoutHeader));
  onClick("reload-orders", () => act(async () => outcomeOf(await loadOrders(), "Orders listed.")));
  onClick("clear-log", clearLog);
}

function start() {
  listen();
  setInterval(showCountdown, 500);
  const mayBeSignedIn = Boolean(xsrfToken());
  state.seen = parseJson(readStored(SEEN_KEY));
  showSignedIn(mayBeSignedIn);
  showCountdown();
  // Without a token nobody has signed in here, and asking would only put a 401 on the console.
  if (mayBeSignedIn) enqueue(() => loadAll("Welcome back."));
  else say("Sign in to start. Nothing has been sent yet.", "info");
}

start();
