// Checks of texts that a pattern cannot express well, by the name that schemas use in `x-check`.

import { isServiceName } from '../names.ts';
import { parseFilter } from '../policy/filter.ts';
import type { ProblemCode } from '../problem.ts';
import type { JsonSchema } from '../schema/json-schema.ts';
import { formatDuration, parseDuration, parseRate } from '../text/durations.ts';
import { parseHostPort } from '../text/host-port.ts';
import { costOf } from '../text/problem-words.ts';

/** What a check has to say: `expected` completes "must be …". */
export interface Finding {
  readonly code: ProblemCode;
  readonly expected: string;
  readonly hint?: string;
}

type TextCheck = (text: string, schema: JsonSchema) => Finding | null;

const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
// Visible ASCII and obs-text, with spaces and tabs between them: nothing that could end a header line (bad-input I18).
const HEADER_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
const METHOD = /^[A-Z][A-Z0-9-]{0,31}$/;
const PATH = /^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/;
const QUERY_TEXT = /^[^\p{Cc}\p{Cs}]*$/u;
const HOSTNAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const CALLER = /^[a-z0-9*]([a-z0-9._*-]{0,126}[a-z0-9*])?$/;
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Header fields that carry framing, routing or hop-by-hop state: editing them would desynchronise two parsers. */
const OWN_HEADERS = new Set(
  'connection content-length expect host keep-alive proxy-connection te trailer transfer-encoding upgrade'.split(' '),
);

/** Keyed by name in a Map, so that no name from outside can reach a prototype. */
export const TEXT_CHECKS: ReadonlyMap<string, TextCheck> = new Map<string, TextCheck>([
  ['duration', checkDuration],
  ['rate', (text) => (parseRate(text) === null ? form('a rate such as 3/s or 30/m') : null)],
  ['serviceName', checkServiceName],
  ['sourceName', (text) => (text === '*' ? null : checkServiceName(text))],
  ['callerGlob', (text) => (CALLER.test(text) ? null : form('a service name, in which * stands for any characters'))],
  ['headerName', checkHeaderName],
  ['editableHeaderName', checkEditableHeaderName],
  ['headerValue', checkHeaderValue],
  ['method', checkMethod],
  ['path', (text) => (PATH.test(text) ? null : form('a path: / and visible ASCII without ? and #'))],
  ['cleanPath', checkCleanPath],
  ['hostname', checkHostname],
  ['queryText', (text) => (QUERY_TEXT.test(text) ? null : form('a text without control characters'))],
  ['filter', checkFilter],
  ['instanceId', (text) => (INSTANCE.test(text) ? null : form('1–128 letters, digits, ".", "_" or "-"'))],
  ['hostPort', (text) => (parseHostPort(text) === null ? form('HOST:PORT such as 127.0.0.1:15001') : null)],
  ['endpoint', checkEndpoint],
  ['url', checkUrl],
]);

function form(expected: string, hint?: string): Finding {
  return hint === undefined ? { code: 'OTR_FORMAT', expected } : { code: 'OTR_FORMAT', expected, hint };
}

function checkDuration(text: string, schema: JsonSchema): Finding | null {
  const ms = parseDuration(text);
  if (ms === null) {
    const isBare = /^[0-9]{1,9}$/.test(text);
    return form('a duration such as 250ms, 15s or 1m', isBare ? `add a unit: ${text}ms or ${text}s` : undefined);
  }
  const min = parseDuration(schema['x-min'] ?? '0') ?? 0;
  const max = parseDuration(schema['x-max'] ?? '365d') ?? Number.MAX_SAFE_INTEGER;
  if (ms < min) return { code: 'OTR_RANGE', expected: `at least ${formatDuration(min)}` };
  if (ms <= max) return null;
  const hint = costOf(schema);
  const expected = `at most ${formatDuration(max)}`;
  return hint === null ? { code: 'OTR_RANGE', expected } : { code: 'OTR_RANGE', expected, hint };
}

function checkServiceName(text: string): Finding | null {
  if (isServiceName(text)) {
    return text === text.toLowerCase() ? null : form('a lower-case service name', `write ${text.toLowerCase()}`);
  }
  return form('a service name: 1–128 of a–z, 0–9, ".", "_", "-", with a letter or digit at both ends');
}

function checkHeaderName(text: string): Finding | null {
  return HEADER_NAME.test(text) ? null : form('a header name (RFC 9110 token, at most 128 characters)');
}

function checkEditableHeaderName(text: string): Finding | null {
  if (!OWN_HEADERS.has(text.toLowerCase())) return checkHeaderName(text);
  return form(
    'a header that policies may change',
    `${text.toLowerCase()} belongs to the connection and is never edited`,
  );
}

function checkHeaderValue(text: string): Finding | null {
  if (HEADER_VALUE.test(text)) return null;
  return form('a header value: no CR, LF, NUL or other control character, no space at either end');
}

function checkMethod(text: string): Finding | null {
  if (METHOD.test(text)) return null;
  const upper = text.toUpperCase();
  return form('a method in capital letters', METHOD.test(upper) ? `write ${upper}` : undefined);
}

function checkEndpoint(text: string): Finding | null {
  const parsed = parseHostPort(text);
  return parsed !== null && parsed.port > 0 ? null : form('HOST:PORT such as 10.0.0.7:7001, with a port above 0');
}

/** An origin and perhaps a path. Credentials would end up in logs; tokens have their own keys. */
function checkUrl(text: string): Finding | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    return form('a URL such as http://127.0.0.1:8500');
  }
  if (url.username !== '' || url.password !== '')
    return form('a URL without a user or password', 'use token or tokenFile');
  return url.search === '' && url.hash === '' ? null : form('a URL without ? and #');
}

/** A path as this agent spells it: it is sent as it stands, so it must not need the work that paths of requests get. */
function checkCleanPath(text: string): Finding | null {
  if (!PATH.test(text)) return form('a path: / and visible ASCII without ? and #');
  if (/\/\//.test(text)) return form('a path without empty segments');
  if (/\/\.{1,2}(\/|$)/.test(text)) return form('a path without . and .. as segments');
  return /%(?![2-7][0-9A-F]|[89A-F][0-9A-F])|%(2F|5C|7F|2E)/.test(text)
    ? form('a path without escapes of control characters, dots and separators; other escapes in capitals')
    : null;
}

function checkHostname(text: string): Finding | null {
  if (HOSTNAME.test(text)) return null;
  const lower = text.toLowerCase();
  return form(
    'a host name of lower-case letters, digits, "-" and ".", without port',
    HOSTNAME.test(lower) ? `write ${lower}` : undefined,
  );
}

function checkFilter(text: string): Finding | null {
  const parsed = parseFilter(text);
  if (parsed.ok) return null;
  return form(`a filter that can be read (character ${parsed.fault.at}: ${parsed.fault.message})`);
}
