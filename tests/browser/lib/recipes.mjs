// Extracts the code from the documented recipes, so that the documented code is what is tested.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "..", "..", "..", "docs", "recipes");

/** Returns the code blocks that follow a `<!-- test: name -->`, by name. */
export function codeBlocks() {
  const blocks = {};
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), "utf8");
    for (const [, name, code] of text.matchAll(/<!-- test: (\S+) -->\n```\w+\n([^]*?)```/g)) {
      if (name in blocks) throw new Error(`two blocks are named ${name}`);
      blocks[name] = code;
    }
  }
  return blocks;
}

/** Writes the pages and modules that run the recipes. */
export function buildRecipes(dist, angular) {
  const blocks = codeBlocks();
  const block = (name) => blocks[name] ?? missing(name);
  const write = (file, text) => writeFileSync(join(dist, file), text);
  write("recipe-fetch.js", block("fetch"));
  write("recipe-fetch.html", page("fetch", FETCH));
  write("recipe-axios.js", block("axios"));
  write("recipe-axios.html", page("axios", AXIOS));
  write("recipe-axios-body.js", `import { api } from "./recipe-axios.js";\n${block("axios-body")}`);
  write("recipe-axios-body.html", page("axios", `import "./recipe-axios-body.js";\n${AXIOS}`));
  write("recipe-htmx.html", htmx(block("htmx").replace("/orders", "/recipes/htmx/orders")));
  const button = `<button hx-post="/recipes/htmx/orders" hx-target="#answer">Order</button><output id="answer"></output>`;
  write("recipe-htmx-meta.html", htmx(`<meta name="xsrf" content="{{xsrf}}">${button}<script>${block("htmx-meta")}</script>`));
  writeFileSync(join(angular, "recipe.ts"), block("angular"));
}

function missing(name) {
  throw new Error(`no recipe has a code block after <!-- test: ${name} -->`);
}

const page = (name, script) => `<!doctype html><meta charset="utf-8"><title>${name}, by recipe</title>
<script type="importmap">{ "imports": { "axios": "./axios.esm.js" } }</script>
<script type="module">
${script}
session.signIn = () => window.signIn();
</script>
`;

const htmx = (body) => `<!doctype html><meta charset="utf-8"><title>htmx</title>
<script src="/clients/htmx.min.js"></script>
${body}`;

const FETCH = `import { api, session } from "./recipe-fetch.js";
async function send(method, path, data) {
  const headers = data === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await api(path, { method, headers, body: data && JSON.stringify(data) });
  const text = await answer.text();
  return { status: answer.status, body: text ? JSON.parse(text) : null };
}
window.client = { send };`;

const AXIOS = `import { api, session } from "./recipe-axios.js";
async function send(method, url, data) {
  try {
    const { status, data: body } = await api.request({ method, url, data });
    return { status, body };
  } catch (error) {
    if (!error.response) throw error;
    return { status: error.response.status, body: error.response.data };
  }
}
window.client = { send };`;
