// Reads a field out of the flat list of a head. Pure.

/** Value of a field by lower-case name, joined when it came in several lines; null without one. */
export function joinedValue(fields: readonly string[], wanted: string): string | null {
  let found: string | null = null;
  for (let index = 0; index < fields.length; index += 2) {
    if (fields[index] !== wanted) continue;
    found = found === null ? (fields[index + 1] as string) : `${found}, ${fields[index + 1]}`;
  }
  return found;
}
