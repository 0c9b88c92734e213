// DOM and storage helpers.

export const byId = (id) => document.getElementById(id);

/** An element with text and children. Never HTML: responses are not trusted as markup. */
export function element(tag, { className, text, data = {}, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  Object.assign(node.dataset, data);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

/** A fact about a request, of which the important ones are tags in a signal colour. */
export const fact = (text) => element("span", { text });
export const tag = (text, kind = "") => element("span", { className: `tag ${kind}`, text });

/** Keeps equal text: screen readers would otherwise repeat live regions every second. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Rows of a description list. */
export const terms = (rows) =>
  rows.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]);

export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// If the browser forbids storage, even reading throws. The page works without it.

export function readStored(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

export function store(key, value) {
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch {
    // Storage is optional.
  }
}
