// The answer of a rule that redirects: the agent's own, without a body.

import type { Redirection } from './destination.ts';
import { applyChanges } from './headers.ts';
import { isFieldValue } from './http1/char-tables.ts';

const PHRASES: Readonly<Record<number, string>> = {
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
};

/** Ready to be written as Latin-1. */
export function composeRedirect({ status, location, rule }: Redirection, mustClose: boolean, epochMs: number): string {
  // Host, path and query were checked when the head was read, and the policy's parts when it was; here it would do harm.
  const fields = ['date', new Date(epochMs).toUTCString(), 'location', isFieldValue(location) ? location : '/'];
  const changed = rule.responseHeaders === null ? fields : applyChanges(fields, rule.responseHeaders);
  let text = `HTTP/1.1 ${status} ${PHRASES[status] ?? ''}\r\n`;
  for (let index = 0; index < changed.length; index += 2) text += `${changed[index]}: ${changed[index + 1]}\r\n`;
  return `${text}content-length: 0\r\n${mustClose ? 'connection: close\r\n' : ''}\r\n`;
}
