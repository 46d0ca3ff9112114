// Which bytes may stand where in an HTTP/1.1 head: RFC 9110 5.6.2 and RFC 9112 3, as tables of 256 flags that the parsers
// index with a byte. Built once at load, never written again.

function table(allowed: (byte: number) => boolean): Uint8Array {
  const flags = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte += 1) if (allowed(byte)) flags[byte] = 1;
  return flags;
}

function isAlphanumeric(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/** `tchar`: field names, methods, transfer codings, chunk extension names. */
export const TOKEN: Uint8Array = table(
  (byte) => isAlphanumeric(byte) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(byte)),
);

/** Field values: HTAB, SP, VCHAR and obs-text. No other control byte, no DEL. */
export const FIELD_VALUE: Uint8Array = table((byte) => byte === 0x09 || (byte >= 0x20 && byte !== 0x7f));

/** Request targets: printable ASCII without the characters that RFC 3986 leaves out, the fragment sign and the backslash. */
export const TARGET: Uint8Array = table(
  (byte) => byte > 0x20 && byte < 0x7f && !'"<>^`{}\\#'.includes(String.fromCharCode(byte)),
);

/** True when every character of `text` is a `tchar` and there is at least one. */
export function isToken(text: string): boolean {
  return text.length > 0 && fits(text, TOKEN);
}

export function isFieldValue(text: string): boolean {
  return fits(text, FIELD_VALUE);
}

function fits(text: string, flags: Uint8Array): boolean {
  for (let index = 0; index < text.length; index += 1) if (flags[text.charCodeAt(index)] !== 1) return false;
  return true;
}

/** Value of a hexadecimal digit, or -1. */
export function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
