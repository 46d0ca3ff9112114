// Field names that a reader which cannot tell `_` from `-` (CGI, WSGI, Rack, PHP) takes for one that steers a message or
// speaks for the agent: Traefik CVE-2026-33433, oauth2-proxy CVE-2025-64484. Other names with `_` are as good as any.

const STEERING: ReadonlySet<string> = new Set([
  'authorization',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'http2-settings',
  'idempotency-key',
  'keep-alive',
  'max-forwards',
  'proxy',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
  'x-original-url',
  'x-real-ip',
  'x-request-id',
  'x-rewrite-url',
]);

/** Whether a lower-case name that holds `_` would be another, steering one with `-` in its place, or without it at an edge. */
export function isLookAlike(name: string): boolean {
  const plain = name.replaceAll('_', '-').replace(/^-+|-+$/g, '');
  return STEERING.has(plain) || plain.startsWith('x-forwarded-') || plain.startsWith('x-outrigger-');
}
