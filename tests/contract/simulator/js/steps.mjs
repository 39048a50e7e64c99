// Plays the calls of a client one by one, and prints a line of JSON for each: what was called, and what went wrong, if anything.
import assert from "node:assert/strict";

export { assert };
export const org = JSON.parse(process.env.SALMON_ORG);

const LIMIT_MS = 30_000;

export async function step(call, play) {
  let trouble = null;
  let timer;
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer within 30 seconds")), LIMIT_MS);
    });
    await Promise.race([play(), late]);
  } catch (error) {
    trouble = `${error.name}: ${error.message}${error.cause ? ` (${error.cause.message})` : ""}`;
  }
  clearTimeout(timer);
  console.log(JSON.stringify({ call, trouble }));
}
