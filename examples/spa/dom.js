// Small helpers for the page's elements.

export const byId = (id) => document.getElementById(id);

/** An element with text and children. Text only, never HTML: what servers say is not markup. */
export function element(tag, { className, text, data = {}, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  Object.assign(node.dataset, data);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

export const badge = (text, kind = "") => element("span", { className: `badge ${kind}`, text });

/** Leaves equal text alone: a live region would be read out again every second. */
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

// A browser may forbid storage, and then even looking at it throws. The page works without.

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
    // Nothing is lost but the convenience.
  }
}
