// Reads one parameter out of a query, without making a list of all. Pure.

/**
 * Value of the first parameter of that name, decoded as forms encode it (`+` is a space); null without one. A parameter without
 * `=` has the value `''`. An escape that stands for no UTF-8 stays as it is. O(target).
 *
 * @param target   path and query
 * @param pathEnd  where the `?` is; the length of the target when there is none
 * @param name     decoded
 */
export function queryValue(target: string, pathEnd: number, name: string): string | null {
  let at = pathEnd + 1;
  while (at <= target.length) {
    const ampersand = target.indexOf('&', at);
    const end = ampersand < 0 ? target.length : ampersand;
    const equals = target.indexOf('=', at);
    const nameEnd = equals < 0 || equals > end ? end : equals;
    if (nameEnd > at && decode(target, at, nameEnd) === name) return decode(target, Math.min(nameEnd + 1, end), end);
    at = end + 1;
  }
  return null;
}

function decode(target: string, start: number, end: number): string {
  const raw = target.slice(start, end);
  if (!raw.includes('%') && !raw.includes('+')) return raw;
  const spaced = raw.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    // Nobody's text: compared as it was sent.
    return spaced;
  }
}
