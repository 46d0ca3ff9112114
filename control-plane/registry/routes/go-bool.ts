// Go's strconv.ParseBool, which decides what Consul takes for true in a query.

/** null for a text that is neither. */
export function parseGoBool(text: string): boolean | null {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  return null;
}
