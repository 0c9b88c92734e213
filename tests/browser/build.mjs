// Builds the client applications into dist/, from which the test server serves them.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildRecipes } from "./lib/recipes.mjs";

const here = import.meta.dirname;
const dist = join(here, "dist");
const modules = join(here, "node_modules");

/** Builds the Angular client, which is slow, only if the sources or the pinned versions have changed. */
function buildAngular() {
  const source = join(here, "clients", "angular");
  const files = ["angular.json", "tsconfig.json", ...readdirSync(join(source, "src")).map((file) => join("src", file))];
  const hash = createHash("sha256").update(readFileSync(join(here, "package-lock.json")));
  for (const file of files) hash.update(readFileSync(join(source, file)));
  const stamp = join(dist, "angular.stamp");
  const wanted = hash.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  rmSync(stamp, { force: true });
  const ng = join(modules, "@angular", "cli", "bin", "ng.js");
  execFileSync(process.execPath, [ng, "build", "--progress=false"], { cwd: source, stdio: "inherit" });
  writeFileSync(stamp, wanted);
}

mkdirSync(dist, { recursive: true });
buildRecipes(dist, join(here, "clients", "angular", "src"));
for (const page of ["fetch.html", "axios.html", "angularjs.html"]) copyFileSync(join(here, "clients", page), join(dist, page));
copyFileSync(join(modules, "axios", "dist", "axios.min.js"), join(dist, "axios.min.js"));
copyFileSync(join(modules, "axios", "dist", "esm", "axios.min.js"), join(dist, "axios.esm.js"));
copyFileSync(join(modules, "htmx.org", "dist", "htmx.min.js"), join(dist, "htmx.min.js"));
copyFileSync(join(modules, "angular", "angular.min.js"), join(dist, "angular.min.js"));
buildAngular();
