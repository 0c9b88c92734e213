// The servers under test, as separate processes on free loopback ports.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";
import { join } from "node:path";

const repository = join(import.meta.dirname, "..", "..", "..");
const target = process.env.CARGO_TARGET_DIR ?? join(repository, "target");
const SETTINGS = /^(PORT|STORE|SECRET|CLIENTS|INSECURE_HTTP|SAME_SITE|PARTITIONED|XSRF_COOKIE|DEVICE|INITIATORS|PUBLIC_ORIGIN|TRUSTED_ORIGIN|OPEN_CORS|UNPROTECTED|.*_SECS)$/;

// No server outlives the tests, however they end.
const running = new Set();
process.once("exit", () => running.forEach((child) => child.kill()));

/** A running example. Its address uses `localhost`, for which browsers accept secure cookies. */
class Server {
  constructor(child, port) {
    this.child = child;
    this.port = port;
    this.origin = `http://localhost:${port}`;
  }

  async json(path) {
    const answer = await fetch(`http://127.0.0.1:${this.port}${path}`);
    return answer.json();
  }

  async post(path) {
    await fetch(`http://127.0.0.1:${this.port}${path}`, { method: "POST" });
  }

  stop() {
    this.child.kill();
  }
}

/** Starts the `spa` example. */
export const startSpa = (environment = {}) =>
  start("spa", { PORT: "0", STORE: "memory", RUST_LOG: "error", ...environment });

/** Starts the server of these tests, see `server/main.rs`. */
export async function startLab(environment = {}) {
  const server = await start("browser_lab", { CLIENTS: join(import.meta.dirname, "..", "dist"), ...environment });
  /** Resolves to a function that returns how often a handler has run. */
  server.counters = async () => {
    const counters = await server.json("/lab/counters");
    return (name) => counters[name] ?? 0;
  };
  server.requests = () => server.json("/lab/requests");
  return server;
}

async function start(example, environment) {
  const binary = join(target, "debug", "examples", example);
  if (!existsSync(binary)) throw new Error(`${example} is missing: cargo build --all-features --example ${example}`);
  const inherited = Object.entries(process.env).filter(([name]) => !SETTINGS.test(name));
  const env = { ...Object.fromEntries(inherited), ...environment };
  const child = spawn(binary, { env, stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  // The loop ends if the process exits before it has printed its address.
  for await (const line of createInterface({ input: child.stdout })) {
    const port = line.match(/http:\/\/\S+:(\d+)$/)?.[1];
    if (!port) continue;
    child.stdout.resume();
    return new Server(child, Number(port));
  }
  throw new Error(`${example} exited before it printed its address`);
}
