// Holds our reading of an input against llhttp's. What we accept, llhttp must accept as the same message; what we refuse and
// llhttp accepts needs an explanation that the input bears out; nothing may depend on where the input was cut.

import { explain } from './explain.ts';
import type { MessageKind } from './grammar.ts';
import { hop } from './hop-by-hop.ts';
import { askAgain, maskedData, unmasked } from './laxer.ts';
import type { Oracle, OracleMessage, OracleReading } from './llhttp.ts';
import { type OurMessage, type OurReading, readMessages } from './read-messages.ts';

export interface Judgement {
  /** Messages that both read alike. */
  readonly accepted: number;
  /** Name of the explained refusal where llhttp accepts, or null. */
  readonly stricter: string | null;
  /** Explained cases of the opposite, one entry a message. */
  readonly laxer: readonly string[];
  /** What must not be, or null. */
  readonly problem: string | null;
}

export function judgeInput(
  bytes: Buffer,
  kind: MessageKind,
  cuts: readonly number[],
  isHead: boolean,
  oracle: Oracle,
): Judgement {
  const laxer: string[] = [];
  const whole = readMessages(bytes, kind, [], isHead);
  const parted = readMessages(bytes, kind, cuts, isHead);
  const verdict = (problem: string | null, stricter: string | null = null): Judgement => {
    return { accepted: whole.messages.length, stricter, laxer, problem };
  };
  const split = compareReadings(whole, parted);
  if (split !== null) return verdict(`cut at ${cuts.join()}: ${split}`);
  for (const message of whole.messages) {
    const problem = compareMessage(bytes, kind, message, isHead, oracle, laxer);
    if (problem !== null) return verdict(problem);
  }
  if (whole.stop === 'end') return verdict(null);
  const rest = bytes.subarray(whole.stoppedAt);
  const theirs = oracle(rest, isHead).messages[0];
  if (theirs?.isComplete !== true) return verdict(null);
  const why = whole.fault ?? 'incomplete';
  const explained = explain(why, rest.toString('latin1'));
  return explained === null ? verdict(`refused, llhttp accepts: ${why}`) : verdict(null, explained);
}

function compareReadings(whole: OurReading, parted: OurReading): string | null {
  if (whole.stop !== parted.stop || whole.fault !== parted.fault || whole.stoppedAt !== parted.stoppedAt) {
    return `${parted.stop} (${parted.fault}) at ${parted.stoppedAt} instead of ${whole.stop} (${whole.fault}) at ${whole.stoppedAt}`;
  }
  if (whole.messages.length !== parted.messages.length) return 'another number of messages';
  for (let index = 0; index < whole.messages.length; index += 1) {
    const one = whole.messages[index] as OurMessage; // both lists have this length
    const other = parted.messages[index] as OurMessage;
    if (one.end !== other.end || one.body !== other.body) return `message ${index} has another body`;
    if (JSON.stringify(one.head) !== JSON.stringify(other.head)) return `message ${index} has another head`;
  }
  return null;
}

/** llhttp gets exactly the bytes that are a message to us: it must find one message in them, whole, and nothing else. */
function compareMessage(
  bytes: Buffer,
  kind: MessageKind,
  ours: OurMessage,
  isHead: boolean,
  oracle: Oracle,
  laxer: string[],
): string | null {
  const { head } = ours;
  // The proxy answers 405 to CONNECT, whatever its target: llhttp's stricter reading of that target does not matter.
  if ('method' in head && head.method === 'CONNECT') return null;
  const own = bytes.subarray(ours.start, ours.end);
  const asked = 'method' in head ? withKnownMethod(own, head.method) : own;
  const isBodiless = isHead || ('status' in head && (head.status < 200 || head.status === 204 || head.status === 304));
  let reading = oracle(asked, isBodiless);
  let body = ours.body;
  // A case of ours that llhttp reads as another framing shows in the body.
  if (!isWhole(reading) || reading.messages[0]?.body !== body) {
    const { error } = reading;
    const again = askAgain(asked, head.next - ours.start + asked.length - own.length, head, (rewritten) => {
      const other = oracle(rewritten, isBodiless);
      if (isWhole(other)) reading = other;
      return isWhole(other);
    });
    if (again === null && !isWhole(reading)) return `accepted, llhttp refuses: ${error}`;
    if (again !== null) {
      laxer.push(...again);
      body = maskedData(body);
    }
  }
  const theirs = reading.messages[0] as OracleMessage; // a whole reading has one
  if (reading.messages.length !== 1) return 'one message here, several to llhttp';
  if (theirs.body !== body) return `body ${JSON.stringify(body)}, llhttp ${JSON.stringify(theirs.body)}`;
  if (theirs.minor !== head.minor) return 'another version';
  const line =
    'method' in head ? compareRequestLine(head, theirs) : head.status === theirs.status ? null : 'another status';
  if (line !== null) return line;
  const expected = hop(kind, unmasked(theirs.headers), 'method' in head ? head.method : '');
  if (expected.join('\n') !== head.fields.join('\n')) {
    return `fields ${JSON.stringify(head.fields)}, llhttp ${JSON.stringify(expected)}`;
  }
  return null;
}

function isWhole({ messages, error }: OracleReading): boolean {
  return error === null && messages[0]?.isComplete === true;
}

/** llhttp numbers its methods; ours are text. The numbers of those that the grammar draws. */
const METHOD_NUMBERS: ReadonlyMap<string, number> = new Map([
  ['DELETE', 0],
  ['GET', 1],
  ['HEAD', 2],
  ['POST', 3],
  ['PUT', 4],
  ['OPTIONS', 6],
  ['PATCH', 28],
  ['PURGE', 29],
]);
const STAND_IN = 'POST';

/** llhttp knows a closed list of methods, HTTP does not: an unknown one is read as POST, which frames its body alike. */
function withKnownMethod(message: Buffer, method: string): Buffer {
  if (METHOD_NUMBERS.has(method)) return message;
  const at = message.indexOf(method, 0, 'latin1');
  return Buffer.concat([message.subarray(0, at), Buffer.from(STAND_IN), message.subarray(at + method.length)]);
}

function compareRequestLine(head: { method: string; target: string }, theirs: OracleMessage): string | null {
  const number = METHOD_NUMBERS.get(head.method) ?? METHOD_NUMBERS.get(STAND_IN);
  if (theirs.method !== number) return 'another method';
  const origin = theirs.url.replace(/^http:\/\/[^/?]*/i, '');
  const raw = origin === '*' || origin.startsWith('/') ? origin : `/${origin}`;
  const [path = '', ...query] = raw.split('?');
  const [ourPath = '', ...ourQuery] = head.target.split('?');
  if (query.join('?') !== ourQuery.join('?')) return `query of ${head.target}, llhttp ${theirs.url}`;
  // Only a path with an escape, a dot segment or a doubled slash has a normal form of its own.
  const isPlain = !/%|\/\.|\/\//.test(path);
  if (isPlain ? path !== ourPath : safeDecode(ourPath).includes('/../'))
    return `path of ${head.target}, llhttp ${theirs.url}`;
  return null;
}

function safeDecode(path: string): string {
  return `${path.replaceAll('%2E', '.').replaceAll('%2e', '.')}/`;
}
