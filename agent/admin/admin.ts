// The agent's admin API: what an operator, Prometheus and the control plane's relay ask. Owns its server and what protects
// it; it must never slow the data plane down, which shares its event loop.

import { type FastifyInstance, fastify } from 'fastify';
import type { HostPort } from '../config.ts';
import { isOwnHost, isSameOrigin } from './host-check.ts';
import type { AdminOptions } from './options.ts';
import { sendError, sendProblem } from './problem.ts';
import { type AdminRoute, adminRoutes, serveRoutes } from './routes.ts';

export interface Admin {
  /** Opens the listener; answers with the bound address. Rejects when the address cannot be bound. */
  listen(): Promise<HostPort>;
  /** Opens the listener for scrapes, where there is one. */
  listenForScrapes(): Promise<void>;
  close(): Promise<void>;
}

/** Bounds of this server, shown in /config_dump. A flood of scrapes meets 503 here, not the event loop's last millisecond. */
export const ADMIN_LIMITS = {
  maxConnections: 64,
  maxConcurrentRequests: 8,
  maxBodyBytes: 1024,
  maxUrlBytes: 2048,
  requestTimeoutMs: 5000,
  keepAliveMs: 65_000,
} as const;

/** Probes are cheap and must be answered even while others flood. */
const NEVER_REFUSED = ['/live', '/ready'];

/** What the listener for scrapes has. */
const SCRAPED = ['/metrics', ...NEVER_REFUSED];

export function createAdmin(options: AdminOptions): Admin {
  const routes = adminRoutes(options, ADMIN_LIMITS);
  const { metrics } = options.config.listeners;
  const admin = createServer(options, options.address, routes);
  const scraped = routes.filter(({ path }) => SCRAPED.includes(path));
  const scrapes = metrics === null ? null : { address: metrics, app: createServer(options, metrics, scraped) };
  const { sharePorts } = options.config.listeners;
  return {
    listen: () => listenAt(admin, options.address, sharePorts),
    listenForScrapes: async () => {
      if (scrapes !== null) await listenAt(scrapes.app, scrapes.address, sharePorts);
    },
    close: async () => {
      await Promise.all([admin.close(), scrapes?.app.close()]);
    },
  };
}

function createServer(options: AdminOptions, address: HostPort, routes: readonly AdminRoute[]): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: ADMIN_LIMITS.maxBodyBytes,
    requestTimeout: ADMIN_LIMITS.requestTimeoutMs,
    keepAliveTimeout: ADMIN_LIMITS.keepAliveMs,
    forceCloseConnections: true,
  });
  app.server.maxConnections = ADMIN_LIMITS.maxConnections;
  app.server.headersTimeout = ADMIN_LIMITS.requestTimeoutMs;
  // No route reads a body: whatever comes is dropped, so that `curl -X POST -d ''` works like a bare POST.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null));
  protect(app, address.host);
  capConcurrency(app);
  app.setErrorHandler((error, request, reply) => {
    const fault = error as Parameters<typeof sendError>[1];
    if ((fault.statusCode ?? 500) >= 500)
      options.log.logger.error({ err: error, url: request.url }, 'admin request failed');
    return sendError(reply, fault);
  });
  serveRoutes(app, routes);
  return app;
}

async function listenAt(app: FastifyInstance, { host, port }: HostPort, reusePort: boolean): Promise<HostPort> {
  // Fastify hands its options on to net.Server and only its types do not know this one.
  const address = { host, port, reusePort };
  await app.listen(address);
  const bound = app.server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the admin API has no address');
  return { host: bound.address, port: bound.port };
}

function protect(app: FastifyInstance, bound: string): void {
  app.addHook('onRequest', async (request, reply) => {
    const { host, origin } = request.headers;
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    if (request.url.length > ADMIN_LIMITS.maxUrlBytes) return sendProblem(reply, 414, 'the path is too long');
    if (!isOwnHost(host, bound)) {
      return sendProblem(reply, 403, 'the request came by a name that is not ours; use the address of the admin API');
    }
    const fetchSite = request.headers['sec-fetch-site'];
    if (!isSameOrigin(origin, typeof fetchSite === 'string' ? fetchSite : undefined, host)) {
      return sendProblem(reply, 403, 'requests from pages of other sites are not served');
    }
  });
}

/** Counts from the head to the end of the answer: a slow reader holds its place. */
function capConcurrency(app: FastifyInstance): void {
  let running = 0;
  app.addHook('onRequest', async (request, reply) => {
    if (NEVER_REFUSED.includes(request.url)) return;
    if (running >= ADMIN_LIMITS.maxConcurrentRequests) {
      reply.header('retry-after', '1');
      return sendProblem(reply, 503, `more than ${ADMIN_LIMITS.maxConcurrentRequests} requests at once`);
    }
    running++;
    // `close` comes exactly once, also when the client goes away before the answer; Fastify's onResponse does not promise it.
    reply.raw.once('close', () => running--);
  });
}
