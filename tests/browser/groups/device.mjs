// Sessions that are bound to a key of the browser. What takes minutes is in `device_long`.
//
// Expiry is simulated by an answer that clears the access cookie.

import { facts, inBindingProfile } from "../lib/shop.mjs";
import binding from "./device/binding.mjs";
import losses from "./device/losses.mjs";
import offers from "./device/offers.mjs";
import outages from "./device/outages.mjs";
import sites from "./device/sites.mjs";
import stepUp from "./device/step_up.mjs";
import theft from "./device/theft.mjs";

const SCENARIOS = [binding, losses, offers, outages, sites, stepUp, theft];

export default async function device(checks, browser) {
  const fact = facts(browser, checks.note);
  // The scenarios have hosts of their own, and so share a browser.
  await inBindingProfile(async (context) => {
    for (const run of SCENARIOS) await run(checks, context, fact);
  });
}
