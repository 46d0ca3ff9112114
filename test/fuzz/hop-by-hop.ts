// Which fields a head keeps to itself, written a second time and more simply than in the parsers: what is left must travel.

import type { MessageKind } from './grammar.ts';

const REQUEST_HOP =
  'host content-length transfer-encoding connection expect upgrade te max-forwards keep-alive proxy-connection proxy-authorization trailer http2-settings proxy'.split(
    ' ',
  );
const RESPONSE_HOP =
  'content-length transfer-encoding connection keep-alive upgrade trailer te proxy-connection proxy-authenticate proxy-authentication-info'.split(
    ' ',
  );
/** A response that names one of these in Connection is mistaken; then nothing is removed. */
const NEVER_NAMED =
  'host content-length transfer-encoding content-type content-encoding authorization cookie set-cookie traceparent tracestate idempotency-key via'.split(
    ' ',
  );

/** End-to-end fields out of llhttp's list, in our form: names in lower case, flat. */
export function hop(kind: MessageKind, headers: readonly string[], method: string): string[] {
  const kept: string[] = [];
  let forwards: string | null = null;
  let named: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const name = (headers[index] as string).toLowerCase();
    const value = headers[index + 1] as string;
    if (name === 'connection')
      named = named.concat(
        value
          .toLowerCase()
          .split(',')
          .map((option) => option.replace(/^[ \t]+|[ \t]+$/g, '')),
      );
    if (name === 'max-forwards') forwards = value;
    if (!(kind === 'request' ? REQUEST_HOP : RESPONSE_HOP).includes(name)) kept.push(name, value);
  }
  if (kind === 'request') return forwards === null || method === 'OPTIONS' ? kept : [...kept, 'max-forwards', forwards];
  return withoutNamed(kept, named);
}

function withoutNamed(fields: readonly string[], named: readonly string[]): string[] {
  const options = named.filter((option) => !['', 'close', 'keep-alive', 'upgrade'].includes(option));
  if (options.some((option) => NEVER_NAMED.includes(option)) || named.filter((option) => option !== '').length > 32)
    return [...fields];
  return fields.filter((_, index) => !options.includes(fields[index - (index % 2)] as string));
}
