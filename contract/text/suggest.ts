// Finds the word that somebody probably meant.

/** Longer words are not compared: the cost is the product of the lengths, and nobody's typing error is this long. */
const LONGEST_WORD = 64;

/**
 * The candidate closest to `word`, or null when none is close.
 *
 * Distance is Damerau–Levenshtein (optimal string alignment) on lower-case letters without `_` and `-`, so that
 * `least_request` is no distance from `leastRequest`. Close means at most 2, and at most a third of the word's length.
 * The first of equally close candidates wins.
 */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > LONGEST_WORD) return null;
  const plain = plainOf(word);
  let best: string | null = null;
  let bestDistance = Math.min(2, Math.max(1, Math.floor(plain.length / 3))) + 1;
  for (const candidate of candidates) {
    if (candidate === word || candidate.length > LONGEST_WORD) continue;
    const distance = distanceOf(plain, plainOf(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function plainOf(word: string): string {
  return word.toLowerCase().replaceAll(/[_-]/g, '');
}

/** Three rows are enough: the transposition looks back two. */
function distanceOf(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const isSame = left[row - 1] === right[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isSame ? 0 : 1),
      );
      const isSwap =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (isSwap) cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[right.length] ?? left.length;
}
