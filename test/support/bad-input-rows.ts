// The rows of bad-input.md, sections A–K: what hostile or broken peers send over HTTP/1. Each has a test that is named after
// it, or a line in docs/http-exceptions.md.

/** Rows by section, from 1 to the number. */
export const BAD_INPUT_ROWS: Readonly<Record<string, number>> = {
  A: 18,
  B: 18,
  C: 13,
  D: 16,
  E: 18,
  F: 10,
  G: 8,
  H: 17,
  I: 24,
  J: 17,
  K: 10,
};

export function badInputIds(): string[] {
  return Object.entries(BAD_INPUT_ROWS).flatMap(([section, count]) =>
    Array.from({ length: count }, (_, index) => `${section}${index + 1}`),
  );
}
