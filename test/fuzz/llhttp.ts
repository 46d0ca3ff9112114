// llhttp, as node:http links it, called in process: the oracle of the fuzzer. A socket a message would cost a hundred times
// more. `_http_common` is the only door to the parser class in this version of Node; the fuzzer alone goes through it.

import { createRequire } from 'node:module';

/** The parser object of node:http: callbacks are numbered properties. */
interface NativeParser {
  [callback: number]: (...args: never[]) => unknown;
  initialize(type: number, resource: object, maxHeaderBytes: number, lenientFlags: number): void;
  execute(bytes: Buffer): number | (Error & { code?: string });
  finish(): (Error & { code?: string }) | undefined;
}

interface NativeModule {
  readonly HTTPParser: (new () => NativeParser) & {
    readonly REQUEST: number;
    readonly RESPONSE: number;
    readonly kOnMessageBegin: number;
    readonly kOnHeaders: number;
    readonly kOnHeadersComplete: number;
    readonly kOnBody: number;
    readonly kOnMessageComplete: number;
    readonly kLenientNone: number;
  };
}

export interface OracleMessage {
  method: number;
  url: string;
  status: number;
  minor: number;
  /** Flat: name as sent, value, name, value. Trailers are not in it. */
  headers: string[];
  body: string;
  isComplete: boolean;
}

export interface OracleReading {
  readonly messages: readonly OracleMessage[];
  /** llhttp's error code, or null. */
  readonly error: string | null;
}

/** Above every limit of ours, so that llhttp never refuses for size. */
const MAX_HEADER_BYTES = 4 << 20;
/** What the headers-complete callback answers to say that no body follows, whatever the fields say. */
const SKIP_BODY = 1;

export type Oracle = (bytes: Buffer, isHead: boolean) => OracleReading;

/** An oracle for one kind of message. Reuses one parser: reading is strict (no lenient flag) and starts afresh each time. */
export function createOracle(kind: 'request' | 'response'): Oracle {
  const { HTTPParser } = createRequire(import.meta.url)('node:_http_common') as NativeModule;
  const parser = new HTTPParser();
  let messages: OracleMessage[] = [];
  let skipsBody = false;
  const current = (): OracleMessage => messages[messages.length - 1] as OracleMessage; // begin comes before the others
  const collect = (headers: string[] | undefined, url: string | undefined): void => {
    const message = current();
    if (headers !== undefined) message.headers = message.headers.concat(headers);
    if (url !== undefined) message.url += url;
  };
  let hasHead = false;
  parser[HTTPParser.kOnMessageBegin] = () => {
    hasHead = false;
    messages.push({ method: -1, url: '', status: 0, minor: 0, headers: [], body: '', isComplete: false });
  };
  // Called for every 32 fields of a long head, and for trailers.
  parser[HTTPParser.kOnHeaders] = (headers: string[], url: string) => {
    if (!hasHead) collect(headers, url);
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    minor: number,
    headers: string[] | undefined,
    method: number | undefined,
    url: string | undefined,
    status: number | undefined,
  ) => {
    collect(headers, url);
    hasHead = true;
    const message = current();
    message.minor = minor;
    message.method = method ?? -1;
    message.status = status ?? 0;
    return skipsBody ? SKIP_BODY : 0;
  };
  parser[HTTPParser.kOnBody] = (bytes: Buffer) => {
    current().body += bytes.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    current().isComplete = true;
  };
  const type = kind === 'request' ? HTTPParser.REQUEST : HTTPParser.RESPONSE;
  const resource = {};
  return (bytes, isHead) => {
    messages = [];
    skipsBody = isHead;
    parser.initialize(type, resource, MAX_HEADER_BYTES, HTTPParser.kLenientNone);
    const read = parser.execute(bytes);
    if (typeof read !== 'number') return { messages, error: read.code ?? 'error' };
    // The end of the input only means something to a body that lasts until then. (After a 101 it would be an error.)
    if (messages.length === 0 || current().isComplete) return { messages, error: null };
    const end = parser.finish();
    return { messages, error: end === undefined ? null : (end.code ?? 'error') };
  };
}
