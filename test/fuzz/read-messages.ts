// Reads a run of messages the way the proxy's two connections do: the head is parsed again from its start with every piece,
// the body is read once. The side of the comparison that is ours.

import { BodyReader } from '../../agent/proxy/http1/body-reader.ts';
import { REQUEST_LIMITS, RESPONSE_LIMITS } from '../../agent/proxy/http1/fields.ts';
import { parseRequestHead, type RequestHead } from '../../agent/proxy/http1/request-head.ts';
import { parseResponseHead, type ResponseHead } from '../../agent/proxy/http1/response-head.ts';
import type { MessageKind } from './grammar.ts';

export interface OurMessage {
  readonly head: RequestHead | ResponseHead;
  readonly body: string;
  /** Offsets of the message in the input. */
  readonly start: number;
  readonly end: number;
}

export interface OurReading {
  readonly messages: readonly OurMessage[];
  /** Why reading stopped: everything was read, a fault, or bytes are missing. */
  readonly stop: 'end' | 'refused' | 'incomplete';
  readonly fault: string | null;
  /** Where the message begins that was refused or is incomplete. */
  readonly stoppedAt: number;
}

/**
 * @param cuts    offsets at which the input is split, ascending; each piece is read before the next one is looked at
 * @param isHead  responses: they answer HEAD
 */
export function readMessages(bytes: Buffer, kind: MessageKind, cuts: readonly number[], isHead: boolean): OurReading {
  const messages: OurMessage[] = [];
  const reader = new BodyReader();
  const ranges: number[] = [];
  let head: RequestHead | ResponseHead | null = null;
  let start = 0;
  let at = 0;
  let body = '';
  const stopped = (stop: OurReading['stop'], fault: string | null): OurReading => ({
    messages,
    stop,
    fault,
    stoppedAt: start,
  });
  for (let piece = 0; piece <= cuts.length; piece += 1) {
    const end = cuts[piece] ?? bytes.length;
    for (;;) {
      if (head === null) {
        if (start >= end) break;
        const parsed =
          kind === 'request'
            ? parseRequestHead(bytes, start, end, REQUEST_LIMITS)
            : parseResponseHead(bytes, start, end, isHead, RESPONSE_LIMITS);
        if (parsed === null) break;
        if (parsed.kind === 'fault') return stopped('refused', parsed.message);
        head = parsed;
        at = head.next;
        body = '';
        reader.reset(head.framing, kind === 'request');
      }
      if (!reader.isDone) {
        ranges.length = 0;
        at = reader.read(bytes, at, end, ranges);
        if (reader.fault !== null) return stopped('refused', reader.fault);
        for (let index = 0; index < ranges.length; index += 2)
          body += bytes.toString('latin1', ranges[index], ranges[index + 1]);
      }
      if (!reader.isDone) break;
      messages.push({ head, body, start, end: at });
      start = at;
      head = null;
    }
  }
  if (head !== null && reader.endsWithConnection) {
    messages.push({ head, body, start, end: bytes.length });
    start = bytes.length;
  } else if (head !== null || start < bytes.length) return stopped('incomplete', null);
  return stopped('end', null);
}
