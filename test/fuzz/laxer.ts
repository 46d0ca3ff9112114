// The cases in which we accept what llhttp refuses: each has a rule of the RFC for it, and cannot change where a message
// ends. The oracle is asked again with those bytes made harmless, at the same length; then it must agree in everything.

import type { RequestHead } from '../../agent/proxy/http1/request-head.ts';
import type { ResponseHead } from '../../agent/proxy/http1/response-head.ts';

interface Indulgence {
  readonly name: string;
  /** The message with the case taken out; the same text where it does not arise. */
  rewrite(head: string, body: string, parsed: RequestHead | ResponseHead): readonly [head: string, body: string];
}

const BODY_CHUNKED = -1;
const FRAMING_NAME = /(\r\n)(content-length|transfer-encoding)(?=:)/gi;

const INDULGENCES: readonly Indulgence[] = [
  {
    name: 'D11 a TAB behind Content-Length or Transfer-Encoding is white space (RFC 9110 5.6.3)',
    rewrite: (head, body) => [
      head.replace(/(\r\n(?:content-length|transfer-encoding):[^\r]*?)([ \t]+)(?=\r)/gi, (_all, line, blank) => {
        return line + ' '.repeat(blank.length);
      }),
      body,
    ],
  },
  {
    name: 'I11 framing fields of 1xx and 204 are dropped unread (RFC 9112 6.3 rule 1)',
    rewrite: (head, body, parsed) =>
      'status' in parsed && (parsed.status < 200 || parsed.status === 204) ? [masked(head), body] : [head, body],
  },
  {
    name: 'E14 a trailer named like a framing field is dropped (RFC 9110 6.5.1)',
    rewrite: (head, body, parsed) => (parsed.framing === BODY_CHUNKED ? [head, masked(body)] : [head, body]),
  },
];

function masked(text: string): string {
  return text.replace(FRAMING_NAME, (_all, lead: string, name: string) => lead + 'x'.repeat(name.length));
}

/** llhttp's fields without those that were masked. */
export function unmasked(headers: readonly string[]): string[] {
  return headers.filter((_text, index) => !/^(?:x{14}|x{17})$/.test(headers[index - (index % 2)] as string));
}

/** The masked form of decoded data, for the improbable case that a chunk holds such a line. */
export function maskedData(data: string): string {
  return masked(data);
}

/**
 * Takes the cases out one after the other until the oracle accepts.
 *
 * @returns the names of those that were taken out, or null when the oracle refuses even so
 */
export function askAgain(
  message: Buffer,
  headLength: number,
  parsed: RequestHead | ResponseHead,
  isAccepted: (message: Buffer) => boolean,
): string[] | null {
  let head = message.toString('latin1', 0, headLength);
  let body = message.toString('latin1', headLength);
  const taken: string[] = [];
  for (const { name, rewrite } of INDULGENCES) {
    const [newHead, newBody] = rewrite(head, body, parsed);
    if (newHead === head && newBody === body) continue;
    head = newHead;
    body = newBody;
    taken.push(name);
    if (isAccepted(Buffer.from(head + body, 'latin1'))) return taken;
  }
  return null;
}
