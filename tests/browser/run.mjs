// Runs all checks in a real browser: `tests/run browser` installs and builds what this needs.
//
//   node tests/browser/run.mjs                    all
//   node tests/browser/run.mjs page tabs          these groups
//   ONLY="a word" node tests/browser/run.mjs      the checks whose sentence has it

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Checks } from "./lib/checks.mjs";
import { close, launch } from "./lib/browser.mjs";

/**
 * Lanes run side by side: these groups mostly wait for tokens to expire. The attacks keep the machine busy, and
 * a grace period of a second would not outlast that: they come afterwards.
 */
const LANES = [["page", "cookies", "uploads", "jars"], ["clients", "tabs", "live"], ["recipes", "proxy"]];
const AFTERWARDS = ["attacks"];

process.setMaxListeners(0); // each server that a group starts listens for our exit
mkdirSync(join(import.meta.dirname, "shots"), { recursive: true });
const groups = [...LANES.flat(), ...AFTERWARDS];
const named = process.argv.slice(2);
const unknown = named.filter((name) => !groups.includes(name));
if (unknown.length > 0) throw new Error(`no group ${unknown.join(", ")}; there are: ${groups.join(", ")}`);

const checks = new Checks(process.env.ONLY);
const browser = await launch();
checks.note(`Chromium ${browser.version()}, Node ${process.versions.node}`);

async function runLane(names) {
  for (const name of names) {
    if (named.length > 0 && !named.includes(name)) continue;
    const { default: run } = await import(`./groups/${name}.mjs`);
    await run(checks.group(name), browser);
  }
}

await Promise.all(LANES.map(runLane));
await runLane(AFTERWARDS);
await close(browser);
process.exit(checks.close());
