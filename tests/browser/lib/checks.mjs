// A small test runner. A check consists of a sentence about behaviour and a function that throws if it does not hold.

export class Checks {
  passed = 0;
  failed = 0;
  /** Information for the reader, printed before the summary. */
  notes = [];
  #failures = [];
  #only;

  constructor(only) {
    this.#only = only;
  }

  /** Returns a runner that prefixes each sentence with the group's name. */
  group(name) {
    return {
      check: (sentence, body, timeout) => this.check(`${name}: ${sentence}`, body, timeout),
      note: (text) => this.note(text),
    };
  }

  async check(sentence, body, timeout = CHECK_TIMEOUT_MS) {
    if (this.#only && !sentence.includes(this.#only)) return;
    const started = performance.now();
    try {
      await withTimeout(body(), timeout);
      this.passed += 1;
      console.log(`ok    ${sentence} (${Math.round(performance.now() - started)} ms)`);
    } catch (error) {
      this.failed += 1;
      const failure = `FAIL  ${sentence}\n${indent(error?.stack ?? String(error))}`;
      this.#failures.push(failure);
      console.log(failure);
    }
  }

  note(text) {
    this.notes.push(text);
  }

  /** Prints the summary and returns the exit code. */
  close() {
    for (const note of this.notes) console.log(`note  ${note}`);
    // Repeated at the end, where the reader of a long log looks first.
    for (const failure of this.#failures) console.log(failure);
    console.log(`browser: ${this.passed} passed, ${this.failed} failed`);
    // A run without any check must not count as a success.
    return this.failed === 0 && this.passed > 0 ? 0 : 1;
  }
}

/** Generous, because a check reaches it only if something is wrong. */
const CHECK_TIMEOUT_MS = 120_000;

function withTimeout(promise, milliseconds) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out after ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const indent = (text) => text.replace(/^/gm, "      ");

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Calls `ask` until it returns a truthy value, and returns that value. Throws an error with `what` on a timeout. */
export async function until(what, ask, milliseconds = 30_000) {
  const deadline = performance.now() + milliseconds;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`timed out waiting for ${what}`);
    await sleep(25);
  }
}
