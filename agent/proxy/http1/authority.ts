// Host names and ports as they come in Host and in an absolute-form target: checked and brought to one spelling.

/** `a.b-c_d`, an IPv4 literal, or a bracketed IPv6 literal; userinfo, lists, paths and spaces are not authorities. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9.])?$/;
const IPV6 = /^\[[0-9A-Fa-f:.]{2,45}\]$/;

/**
 * Brings an authority to the form that routing compares: lower case, no trailing dot, no `:80`.
 *
 * @returns the normal form, or null when it is not an authority of an http URL
 */
export function normalizeAuthority(text: string): string | null {
  const colon = text.startsWith('[') ? text.indexOf(']') + 1 : text.indexOf(':');
  const hasPort = colon > 0 && colon < text.length;
  const name = hasPort ? text.slice(0, colon) : text;
  if (!NAME.test(name) && !IPV6.test(name)) return null;
  const bare = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
  if (bare.endsWith('.') || bare.includes('..')) return null;
  if (!hasPort) return bare;
  const port = text.slice(colon + 1);
  if (text[colon] !== ':' || !/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535 || Number(port) === 0) return null;
  return Number(port) === 80 ? bare : `${bare}:${Number(port)}`;
}
