// TLS in front of the server under test: records what the browser sends, and loses answers when it is told to.

import { request as forward } from "node:http";
import { createServer } from "node:https";
import { connect } from "node:net";
import { certificate } from "./certificate.mjs";
import { sleep } from "./checks.mjs";

const DEVICE = "/api/device";
const EXPIRED = "__Host-access=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0";

/** The requests to the device service, as the browser sends them. */
export const isRegistration = (entry) => entry.path === DEVICE && !entry.named && entry.proof !== undefined;
export const isQuestion = (entry) => entry.path === DEVICE && entry.named && entry.proof === undefined;
export const isProof = (entry) => entry.path === DEVICE && entry.named && entry.proof !== undefined;
export const isRefresh = (entry) => isQuestion(entry) || isProof(entry);
export const isAccepted = (entry) => isProof(entry) && entry.status === 200;
export const isDevice = (entry) => entry.path === DEVICE;

/** Starts a server for `https://<host>`. It answers `pages` itself, and forwards all else to the port `upstream`. */
export async function startFront(host, pages = {}) {
  const front = new Front(host, pages);
  await new Promise((resolve) => front.server.listen(0, "127.0.0.1", resolve));
  front.port = front.server.address().port;
  front.origin = `https://${host}:${front.port}`;
  return front;
}

class Front {
  /** Every request so far, in the order of arrival. */
  seen = [];
  #faults = [];

  constructor(host, pages) {
    this.host = host;
    this.pages = pages;
    const { key, cert } = certificate();
    this.server = createServer({ key, cert }, (request, response) => this.#handle(request, response));
    this.server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /**
   * Lets `times` of the requests that match fail:
   *
   * - `lost`: the server answers, but the browser gets nothing;
   * - `cut`: the browser gets the head of the answer and half of its body;
   * - a status: the server never sees the request.
   */
  fail(matches, how, times = Infinity) {
    this.#faults.push({ matches, how, times });
  }

  /** Holds the requests that match until the returned function is called. */
  hold(matches) {
    let release;
    const released = new Promise((resolve) => (release = resolve));
    this.#faults.push({ matches, how: "held", times: Infinity, released });
    return release;
  }

  /** Takes back all faults. */
  heal() {
    this.#faults = [];
  }

  /** Returns a function that returns the requests since now that match. */
  since() {
    const start = this.seen.length;
    return (matches = () => true) => this.seen.slice(start).filter(matches);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  #arrived(request) {
    const entry = describe(request);
    this.seen.push(entry);
    const fault = this.#faults.find(({ matches, times }) => times > 0 && matches(entry));
    if (fault) fault.times -= 1;
    return { entry, fault };
  }

  async #handle(request, response) {
    const { entry, fault } = this.#arrived(request);
    const page = this.pages[entry.path];
    if (page) return response.writeHead(200, { "Content-Type": "text/html" }).end(page);
    // The answer by which an access cookie expires before its time.
    if (entry.path === "/expire") return response.writeHead(204, { "Set-Cookie": EXPIRED }).end();
    if (typeof fault?.how === "number") {
      entry.status = fault.how;
      return response.writeHead(fault.how, { "Content-Length": 0 }).end();
    }
    await fault?.released;
    const answer = await this.#ask(request);
    entry.status = answer?.statusCode ?? 502;
    entry.sets = answer?.headers["set-cookie"] ?? [];
    entry.challenged = answer?.headers["secure-session-challenge"] !== undefined;
    if (!answer || fault?.how === "lost") return request.socket.destroy();
    response.writeHead(answer.statusCode, answer.rawHeaders.filter(keeps));
    if (fault?.how !== "cut") return response.end(answer.body);
    response.write(answer.body.subarray(0, answer.body.length / 2));
    // With the head and half of the body in one packet, which the browser has then read.
    await sleep(50);
    request.socket.destroy();
  }

  /** Sends the request to the server, and resolves to its answer with all of the body, or to nothing. */
  #ask(request) {
    const { method, url: path, rawHeaders: headers } = request;
    return new Promise((resolve) => {
      const sent = forward({ host: "127.0.0.1", port: this.upstream, method, path, headers }, async (answer) => {
        const parts = await answer.toArray().catch(() => []);
        resolve(Object.assign(answer, { body: Buffer.concat(parts) }));
      });
      sent.on("error", () => resolve());
      request.pipe(sent);
    });
  }

  #upgrade(request, socket, head) {
    this.#arrived(request);
    const server = connect(this.upstream, "127.0.0.1", () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let n = 0; n < request.rawHeaders.length; n += 2) lines.push(request.rawHeaders.slice(n, n + 2).join(": "));
      server.write(`${lines.join("\r\n")}\r\n\r\n`);
      server.write(head);
      server.pipe(socket).pipe(server);
    });
    const end = () => [server, socket].forEach((it) => it.destroy());
    server.on("error", end).on("close", end);
    socket.on("error", end).on("close", end);
  }
}

/** What a check wants to know of a request. */
function describe({ method, url, headers }) {
  const cookies = (headers.cookie ?? "").split("; ").filter(Boolean);
  return {
    method,
    path: url.split("?")[0],
    site: headers["sec-fetch-site"],
    cookies: cookies.map((cookie) => cookie.split("=")[0]),
    named: headers["sec-secure-session-id"] !== undefined,
    proof: headers["secure-session-response"],
    skipped: headers["secure-session-skipped"],
    xsrf: headers["x-xsrf-token"],
    length: headers["content-length"],
    /** Nothing while the request is being answered. */
    status: undefined,
    sets: [],
  };
}

/** Leaves out what says how the body was sent, which it is not anymore. */
const keeps = (_, n, headers) => !/^(transfer-encoding|connection|keep-alive)$/i.test(headers[n - (n % 2)]);
