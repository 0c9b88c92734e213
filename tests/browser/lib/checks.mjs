// A small runner: a check is a sentence about behaviour and a function that throws when it does not hold.

export class Checks {
  passed = 0;
  failed = 0;
  /** Facts for people, printed before the closing line. */
  notes = [];
  #failures = [];
  #only;

  constructor(only) {
    this.#only = only;
  }

  /** As this, with the group's name before each sentence. */
  group(name) {
    return {
      check: (sentence, body) => this.check(`${name}: ${sentence}`, body),
      note: (text) => this.note(text),
    };
  }

  async check(sentence, body) {
    if (this.#only && !sentence.includes(this.#only)) return;
    const started = performance.now();
    try {
      await withTimeout(body());
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

  /** Prints the closing line, and resolves to the exit code. */
  close() {
    for (const note of this.notes) console.log(`note  ${note}`);
    // Once more where it is read: at the end of a long log.
    for (const failure of this.#failures) console.log(failure);
    console.log(`browser: ${this.passed} passed, ${this.failed} failed`);
    // Nothing checked is nothing shown.
    return this.failed === 0 && this.passed > 0 ? 0 : 1;
  }
}

/** Generous: nothing waits for it unless something is wrong. */
const CHECK_TIMEOUT_MS = 120_000;

function withTimeout(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${CHECK_TIMEOUT_MS / 1000} s`)), CHECK_TIMEOUT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const indent = (text) => text.replace(/^/gm, "      ");

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Asks again and again until the answer is truthy, and gives it; otherwise says what was awaited. */
export async function until(what, ask, milliseconds = 30_000) {
  const deadline = performance.now() + milliseconds;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(25);
  }
}
