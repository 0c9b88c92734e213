// The attacker's server. As `localhost` it is another port of the same site, as `127.0.0.1` another site.

import { createServer } from "node:http";

export async function startEvil() {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  return {
    /** Returns an address on the attacker's server, with parameters such as the target. */
    address(host, path = "page", parameters = {}) {
      const query = new URLSearchParams(parameters).toString();
      return `http://${host}:${port}/${path}${query && `?${query}`}`;
    },
    stop: () => server.close(),
  };
}

function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, "http://evil.example");
  const route = ROUTES[pathname];
  if (!route) return response.writeHead(404).end();
  route(response, searchParams);
}

const html = (response, text, headers = {}) =>
  response.writeHead(200, { "Content-Type": "text/html", ...headers }).end(`<!doctype html><title>evil</title>${text}`);

const ROUTES = {
  "/page": (response) => html(response, "<body>"),
  /** Redirects to the given address, keeping method and body. */
  "/redirect": (response, query) => response.writeHead(307, { Location: query.get("to") }).end(),
  /** A page that violates its own policy and reports that to the target. */
  "/reports": (response, query) => {
    const to = `${query.get("target")}/api/write?attack=${query.get("slug")}`;
    html(response, "<body>", { "Content-Security-Policy": `img-src 'none'; report-uri ${to}` });
  },
  "/refresh": (response, query) => {
    const to = `${query.get("target")}/api/read?attack=${query.get("slug")}`;
    html(response, `<meta http-equiv="refresh" content="0; url=${to}">`);
  },
  "/worker.js": (response) => {
    const script = `onmessage = ({ data }) => fetch(data, { method: "POST", mode: "no-cors", credentials: "include" })
      .then(() => postMessage("sent"), () => postMessage("sent"));`;
    response.writeHead(200, { "Content-Type": "text/javascript" }).end(script);
  },
  "/service.js": (response) => {
    const script = `oninstall = () => skipWaiting();
      onmessage = ({ data }) => fetch(data, { method: "POST", mode: "no-cors", credentials: "include" });`;
    response.writeHead(200, { "Content-Type": "text/javascript" }).end(script);
  },
  /** Sets cookies for the host, which all its ports share. Each `c` is one `Set-Cookie` line. */
  "/toss": (response, query) => html(response, "<body>", { "Set-Cookie": query.getAll("c") }),
};
