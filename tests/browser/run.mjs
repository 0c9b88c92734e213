// Runs the checks in a real browser. `tests/run browser` installs and builds what they need.
//
//   node tests/browser/run.mjs                    runs all checks
//   node tests/browser/run.mjs page tabs          runs these groups
//   ONLY="a word" node tests/browser/run.mjs      runs the checks whose name contains the text

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Checks } from "./lib/checks.mjs";
import { close, launch } from "./lib/browser.mjs";

/**
 * Lanes run concurrently, because their groups mostly wait for tokens to expire. The other groups run afterwards:
 * the attacks keep the machine so busy that a request could take longer than a grace period of one second.
 */
const LANES = [
  ["page", "cookies", "uploads", "jars"],
  ["clients", "tabs", "live"],
  ["recipes", "proxy", "frames"],
  ["device"],
];
const AFTERWARDS = ["attacks"];
/** These take minutes, and run only if named. */
const LONG = ["device_long"];

process.setMaxListeners(0); // each server adds a listener for the exit of this process
mkdirSync(join(import.meta.dirname, "shots"), { recursive: true });
const groups = [...LANES.flat(), ...AFTERWARDS, ...LONG];
const named = process.argv.slice(2);
const unknown = named.filter((name) => !groups.includes(name));
if (unknown.length > 0) throw new Error(`unknown group ${unknown.join(", ")}: choose from ${groups.join(", ")}`);

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
if (named.length > 0) await runLane(LONG);
await close(browser);
process.exit(checks.close());
