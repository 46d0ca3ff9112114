// The dashboard's built files, read once and served from memory with rules that let the browser run nothing else.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

const FILES = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/dashboard.js', 'dashboard.js', 'text/javascript; charset=utf-8'],
  ['/dashboard.css', 'dashboard.css', 'text/css; charset=utf-8'],
  ['/favicon.svg', 'favicon.svg', 'image/svg+xml'],
] as const;

/** No inline script or style, no other origin, no frame around us, no form that leaves. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** What `/` says until the page is built; everything else works without it. */
const NOT_BUILT = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Outrigger: the dashboard is not built</title></head>
<body>
<h1>The dashboard is not built</h1>
<p>The control plane runs, and its API under /v1 answers. To build the page, run this in the checkout and load it again:</p>
<pre>npm ci &amp;&amp; npm run build:dashboard</pre>
</body></html>
`;

interface PageFile {
  readonly plain: Buffer;
  readonly gzip: Buffer;
  readonly etag: string;
}

/** @param folder  where the built files are; tests have one without */
export async function pageRoutes(
  app: FastifyInstance,
  { folder = new URL('../dashboard/dist/', import.meta.url) }: { readonly folder?: URL },
): Promise<void> {
  const files = new Map<string, PageFile>();
  /** Asked again while it is absent, so that building mends a control plane that runs. */
  const find = (name: string): PageFile | null => {
    const file = files.get(name) ?? readPageFile(new URL(name, folder));
    if (file !== null) files.set(name, file);
    return file;
  };
  for (const [path, name, type] of FILES) {
    find(name);
    // The page itself holds no data; what it shows it asks for with the reader's token.
    app.get(path, { config: { access: ['public'] as const }, schema: { hide: true } }, async (request, reply) => {
      protect(reply);
      const file = find(name);
      if (file !== null) return sendFile(request, reply.type(type), file);
      return reply.code(503).header('cache-control', 'no-store').type('text/html; charset=utf-8').send(NOT_BUILT);
    });
  }
}

function protect(reply: FastifyReply): void {
  reply
    .header('content-security-policy', CONTENT_SECURITY_POLICY)
    .header('x-frame-options', 'DENY')
    .header('referrer-policy', 'no-referrer');
}

function sendFile(request: FastifyRequest, reply: FastifyReply, { plain, gzip, etag }: PageFile): FastifyReply {
  reply.header('cache-control', 'no-cache').header('etag', etag).header('vary', 'accept-encoding');
  if (request.headers['if-none-match'] === etag) return reply.code(304).send();
  const isGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(String(request.headers['accept-encoding'] ?? ''));
  return isGzip ? reply.header('content-encoding', 'gzip').send(gzip) : reply.send(plain);
}

function readPageFile(url: URL): PageFile | null {
  try {
    const plain = readFileSync(url);
    const etag = `"${createHash('sha256').update(plain).digest('hex').slice(0, 32)}"`;
    return { plain, gzip: gzipSync(plain, { level: 9 }), etag };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
