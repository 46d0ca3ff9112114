// Names of services: what is one, and which one a Host means. Everything compares services by the lower-case name.

const SERVICE_NAME = /^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$/;
const IPV4_PART = /^(0x[0-9a-f]*|[0-9]+)$/;
const PORT = /^[0-9]{0,5}$/;
const SUFFIXES = ['.service.consul', '.mesh'];

/** True for 1–128 letters, digits, `.`, `_`, `-` that begin and end with a letter or digit; case does not matter. */
export function isServiceName(text: string): boolean {
  return text.length <= 128 && SERVICE_NAME.test(text.toLowerCase());
}

/**
 * The service that a Host header or an authority names: `Payments.service.consul:80` → `payments`.
 *
 * Takes off a port, one trailing dot and the endings `.mesh` and `.service.consul`, in any case.
 *
 * @returns the lower-case name, or null when the text cannot be a service name or is an IP address in any spelling that
 *          a resolver would take for one (`10.0.0.7`, `2130706433`, `0x7f.1`, `[::1]`)
 */
export function serviceFromHost(host: string): string | null {
  let name = host.toLowerCase();
  const colon = name.lastIndexOf(':');
  if (colon !== -1) {
    if (!PORT.test(name.slice(colon + 1))) return null;
    name = name.slice(0, colon);
  }
  if (name.endsWith('.')) name = name.slice(0, -1);
  for (const suffix of SUFFIXES) {
    if (name.endsWith(suffix)) {
      name = name.slice(0, -suffix.length);
      break;
    }
  }
  if (name.length > 128 || !SERVICE_NAME.test(name) || isIpv4Like(name)) return null;
  return name;
}

/** One to four numbers between dots, decimal, octal or hexadecimal: inet_aton reads all of these as an address. */
function isIpv4Like(name: string): boolean {
  const first = name.charCodeAt(0);
  if (first < 0x30 || first > 0x39) return false;
  const parts = name.split('.');
  return parts.length <= 4 && parts.every((part) => IPV4_PART.test(part));
}
