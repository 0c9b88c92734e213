// The requests that a page of another origin can make a browser send. Each attack runs inside the attacker's page.
//
// `run({ to, target, evil })` returns what the attacker could read, if anything; `to` is the address to attack, with
// the path `path`. `writes` names the handler that runs if the attack succeeds. `opens` marks top-level GET
// navigations, which may refresh a session, as following a link may.

/** Fills in and submits a form without user interaction. */
function form({ to, slug }, { enctype, fields = { item: "tea" }, target, method = "POST" }) {
  const form = document.createElement("form");
  Object.assign(form, { method, action: to });
  if (enctype) form.enctype = enctype;
  if (target) form.target = target;
  // The fields of a GET form replace the query.
  if (method === "GET") fields = { attack: slug };
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name, value });
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}

/** Returns a function that contains the source of `form`, since functions in the page cannot access this module. */
const withForm = (options) => new Function("scene", `return (${form})(scene, ${JSON.stringify(options)});`);

/** Inserts an element that loads the address automatically. */
const withElement = (tag, attributes, address = "src") =>
  new Function(
    "scene",
    `const node = document.createElement(${JSON.stringify(tag)});
     Object.assign(node, ${JSON.stringify(attributes)});
     node[${JSON.stringify(address)}] = scene.to;
     document.body.append(node);`,
  );

/** Sends a fetch, and returns what it could read of the response. */
const withFetch = (init) =>
  new Function(
    "scene",
    `return fetch(scene.to, ${JSON.stringify(init)})
       .then((answer) => answer.type === "opaque" || !answer.ok ? [] : answer.text().then((text) => [text]), () => []);`,
  );

/**
 * Opens a window and waits until it has left `about:blank`. From then on it belongs to another origin, and reading its
 * address throws.
 */
function openWindow(address, name) {
  const opened = window.open(address, name);
  return new Promise((resolve) => {
    const look = () => {
      try {
        void opened.location.href;
        setTimeout(look, 10);
      } catch {
        resolve(opened);
      }
    };
    look();
  });
}

const SMUGGLED = { '{"user":"evil","x":"': '"}' };

const changing = [
  { name: "a form that submits itself", run: withForm({}) },
  { name: "a multipart form", run: withForm({ enctype: "multipart/form-data" }) },
  { name: "a text/plain form that smuggles JSON", run: withForm({ enctype: "text/plain", fields: SMUGGLED }) },
  {
    name: "a form into a hidden frame",
    run: new Function(
      "scene",
      `const frame = document.createElement("iframe");
       frame.name = "hidden-frame";
       document.body.append(frame);
       return (${form})(scene, { target: "hidden-frame" });`,
    ),
  },
  { name: "a form into a new window", run: withForm({ target: "_blank" }) },
  {
    name: "a form in a sandboxed frame, whose origin is null",
    run({ to }) {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-forms allow-scripts";
      frame.srcdoc = `<form method="post" action="${to}"></form><script>document.forms[0].submit()</script>`;
      document.body.append(frame);
    },
  },
  {
    name: "a form in a data: page in a frame",
    run({ to }) {
      const frame = document.createElement("iframe");
      frame.src = `data:text/html,${encodeURIComponent(
        `<form method="post" action="${to}"></form><script>document.forms[0].submit()</script>`,
      )}`;
      document.body.append(frame);
    },
  },
  {
    name: "a form forwarded by a redirect (307)",
    run: new Function(
      "scene",
      `return (${form})({ to: scene.evil + "redirect?to=" + encodeURIComponent(scene.to) }, {});`,
    ),
  },
  {
    name: "a fetch forwarded by a redirect (307)",
    run: ({ to, evil }) =>
      fetch(`${evil}redirect?to=${encodeURIComponent(to)}`, {
        method: "POST",
        mode: "no-cors",
        credentials: "include",
      }).then(() => [], () => []),
  },
  { name: "fetch no-cors", run: withFetch({ method: "POST", mode: "no-cors", credentials: "include", body: "x=1" }) },
  { name: "fetch cors, simple", run: withFetch({ method: "POST", credentials: "include", body: "x=1" }) },
  {
    name: "fetch cors, JSON",
    run: withFetch({
      method: "POST",
      credentials: "include",
      headers: { "Content-Type": "application/json" },
      body: "{}",
    }),
  },
  {
    name: "fetch cors with a guessed token",
    run: withFetch({ method: "POST", credentials: "include", headers: { "X-XSRF-TOKEN": "A".repeat(24) } }),
  },
  { name: "fetch cors, PUT", run: withFetch({ method: "PUT", credentials: "include" }) },
  { name: "fetch cors, DELETE", run: withFetch({ method: "DELETE", credentials: "include" }) },
  {
    name: "fetch with keepalive while the page unloads",
    leave: true,
    run({ to }) {
      addEventListener("pagehide", () => {
        fetch(to, { method: "POST", mode: "no-cors", credentials: "include", keepalive: true }).catch(() => {});
      });
    },
  },
  {
    name: "XMLHttpRequest with credentials",
    run: ({ to }) =>
      new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.open("POST", to);
        request.withCredentials = true;
        request.onload = () => resolve(request.status === 200 ? [request.responseText] : []);
        request.onerror = () => resolve([]);
        request.send("x=1");
      }),
  },
  { name: "a beacon", run: ({ to }) => void navigator.sendBeacon(to, "x=1") },
  {
    name: "a link that pings",
    click: "#ping",
    run({ to }) {
      const link = document.createElement("a");
      Object.assign(link, { id: "ping", href: "#", ping: to, textContent: "click me" });
      document.body.append(link);
    },
  },
  {
    name: "a worker",
    run: ({ to }) =>
      new Promise((resolve) => {
        const worker = new Worker("/worker.js");
        worker.onmessage = () => resolve([]);
        worker.postMessage(to);
      }),
  },
  {
    name: "the attacker's service worker",
    async run({ to }) {
      await navigator.serviceWorker.register("/service.js");
      const { active } = await navigator.serviceWorker.ready;
      active.postMessage(to);
    },
  },
  {
    name: "a blob: frame",
    run({ to }) {
      const page = `<script>fetch("${to}", { method: "POST", mode: "no-cors", credentials: "include" })</script>`;
      const frame = document.createElement("iframe");
      frame.src = URL.createObjectURL(new Blob([page], { type: "text/html" }));
      document.body.append(frame);
    },
  },
  {
    name: "a form into a window that it has opened",
    run: new Function(
      "scene",
      `return (${openWindow})(scene.target + "/", "victim").then(() => (${form})(scene, { target: "victim" }));`,
    ),
  },
].map((attack) => ({ ...attack, writes: "writes" }));

const elsewhere = [
  { name: "a form that signs out", path: "/api/logout", run: withForm({}) },
  {
    name: "a fetch that signs out",
    path: "/api/logout",
    run: withFetch({ method: "POST", mode: "no-cors", credentials: "include" }),
  },
  {
    name: "a text/plain form that signs in as another user",
    path: "/api/login",
    run: withForm({ enctype: "text/plain", fields: SMUGGLED }),
    writes: "logins",
  },
  {
    name: "a fetch that signs in as another user",
    path: "/api/login",
    run: withFetch({ method: "POST", mode: "no-cors", credentials: "include", body: '{"user":"evil"}' }),
    writes: "logins",
  },
  { name: "a form that refreshes", path: "/api/refresh", run: withForm({}) },
  {
    name: "a fetch that refreshes and tries to read the token",
    path: "/api/refresh",
    run: withFetch({ method: "POST", credentials: "include" }),
  },
  { name: "a multipart upload", path: "/api/upload", run: withForm({ enctype: "multipart/form-data" }), writes: "uploads" },
  {
    name: "a WebSocket",
    path: "/api/socket",
    writes: "sockets",
    run: ({ to }) =>
      new Promise((resolve) => {
        const socket = new WebSocket(to.replace("http", "ws"));
        socket.onmessage = ({ data }) => resolve([data]);
        socket.onerror = () => resolve([]);
      }),
  },
  // The browser sends the report to another origin without credentials.
  {
    name: "a report of a policy violation",
    page: "reports",
    run() {
      const image = new Image();
      image.src = "/none.png";
      document.body.append(image);
    },
  },
];

const reading = [
  { name: "an image", run: withElement("img", {}) },
  { name: "a script", run: withElement("script", {}) },
  { name: "a frame", run: withElement("iframe", {}) },
  { name: "an object", run: withElement("object", {}, "data") },
  { name: "a video", run: withElement("video", {}) },
  { name: "a stylesheet", run: withElement("link", { rel: "stylesheet" }, "href") },
  { name: "a prefetch", run: withElement("link", { rel: "prefetch" }, "href") },
  { name: "a preload", run: withElement("link", { rel: "preload", as: "fetch", crossOrigin: "use-credentials" }, "href") },
  {
    name: "an EventSource",
    path: "/api/events",
    run: ({ to }) =>
      new Promise((resolve) => {
        const source = new EventSource(to, { withCredentials: true });
        const end = (read) => resolve(source.close() ?? read);
        source.onmessage = ({ data }) => end([data]);
        source.onerror = () => end([]);
      }),
  },
  { name: "fetch no-cors of a page", run: withFetch({ mode: "no-cors", credentials: "include" }) },
  { name: "fetch cors of a page", run: withFetch({ credentials: "include" }) },
  {
    name: "reading the content of a frame",
    run: ({ to }) =>
      new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.src = to;
        frame.onload = () => resolve(frame.contentDocument ? [frame.contentDocument.body.innerText] : []);
        document.body.append(frame);
      }),
  },
].map((attack) => ({ path: "/api/read", ...attack }));

const opening = [
  { name: "a navigation by script", run: ({ to }) => void (location.href = to) },
  { name: "a GET form", run: withForm({ method: "GET" }), path: "/api/read" },
  { name: "a meta refresh", page: "refresh", run() {} },
  {
    name: "a GET that pretends to be a POST",
    path: "/api/write",
    run: ({ to }) => void (location.href = `${to}&_method=POST`),
  },
  {
    name: "reading a window that it has opened",
    run: new Function(
      "scene",
      `return (${openWindow})(scene.to).then((opened) =>
         ["document", "localStorage", "sessionStorage"].flatMap((look) => {
           try {
             return [String(opened[look])];
           } catch {
             return []; // It belongs to another origin.
           }
         }));`,
    ),
  },
].map((attack) => ({ path: "/api/read", opens: true, ...attack }));

export const ATTACKS = [...changing, ...elsewhere, ...reading, ...opening];
