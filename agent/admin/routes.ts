// The paths of the admin API, in Envoy's words. docs/admin.md lists the same set; a test compares both.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { LOG_LEVELS } from '../telemetry/log.ts';
import { clusters, clustersText } from './clusters.ts';
import { configDump } from './config-dump.ts';
import type { AdminOptions } from './options.ts';
import { overruleRoute } from './overrule.ts';
import { sendProblem } from './problem.ts';
import { tapRoute } from './tap.ts';

export interface AdminRoute {
  /** Reading is GET; whatever changes something is POST, so that no link, image or crawler can do it. */
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly about: string;
  handle(request: FastifyRequest, reply: FastifyReply): unknown;
}

/** Decisions that a list shows. */
const LISTED_DECISIONS = 50;

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export function adminRoutes(options: AdminOptions, limits: object): AdminRoute[] {
  return [...readingRoutes(options, limits), ...changingRoutes(options)];
}

/** Registers all of them, and answers everything else with what there is. */
export function serveRoutes(app: FastifyInstance, routes: readonly AdminRoute[]): void {
  for (const { method, path, handle } of routes) app.route({ method, url: path, handler: handle });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const known = routes.filter((route) => route.path === path).map(({ method }) => method);
    if (known.length > 0) {
      const allowed = known.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
      reply.header('allow', allowed);
      return sendProblem(reply, 405, `${path} takes ${allowed}, got ${request.method}`);
    }
    return sendProblem(reply, 404, 'there is no such path', {
      paths: routes.map(({ method, path, about }) => ({ method, path, about })),
    });
  });
}

function readingRoutes(options: AdminOptions, limits: object): AdminRoute[] {
  const get = (path: string, about: string, handle: AdminRoute['handle']): AdminRoute => {
    return { method: 'GET', path, about, handle };
  };
  return [
    get('/live', 'the process answers', () => ({ isLive: true })),
    get('/ready', 'whether the application may send its calls, and if not, why not', (_request, reply) => {
      const reasons = options.notReady();
      if (reasons.length === 0) return { isReady: true, reasons };
      return sendProblem(reply, 503, reasons.join('; '), { isReady: false, reasons });
    }),
    get('/metrics', 'Prometheus text', async (_request, reply) =>
      reply.type(METRICS_TYPE).send(await options.metrics()),
    ),
    get('/clusters', 'services and endpoints, one fact a line; ?format=json', (request, reply) => {
      const views = clusters(options);
      return query(request, 'format') === 'json' ? views : reply.type('text/plain').send(clustersText(views));
    }),
    get('/config_dump', 'configuration, limits, effective policies, endpoints; secrets replaced', () =>
      configDump(options, limits),
    ),
    get('/stats', 'metrics without help lines; ?filter= keeps lines that contain the text', async (request, reply) => {
      const filter = query(request, 'filter') ?? '';
      // A substring and not a pattern: a pattern from outside could take any time.
      const kept = (await options.metrics()).split('\n').filter((line) => isSample(line) && line.includes(filter));
      return reply.type('text/plain').send(kept.length === 0 ? '' : `${kept.join('\n')}\n`);
    }),
    get('/server_info', 'who this agent is and how long it has been up', () => serverInfo(options)),
    get(
      '/why',
      'the last decisions in one sentence each, newest first; ?failed=true for those that went wrong',
      (request) => {
        const isFailed = query(request, 'failed') === 'true';
        return {
          decisions: options.decisions(LISTED_DECISIONS, isFailed).map(({ id, at, text }) => ({ id, at, text })),
        };
      },
    ),
    get('/why/:id', 'why a request went where it went, by x-outrigger-why or x-request-id', (request, reply) => {
      const { id } = request.params as { readonly id: string };
      const found = options.why(id);
      if (found !== null) return found;
      return sendProblem(reply, 404, 'no such decision is kept: the last 4096 are, and the last 1024 that went wrong');
    }),
    get('/policies', 'the policy documents in force, and the version that they are of', () => {
      const { appliedVersion } = options.policy();
      return { caller: options.service, policyVersion: appliedVersion, documents: options.documents() };
    }),
    get('/events', 'what happened lately, oldest first', () => ({ events: options.events() })),
    get(
      '/tap',
      'requests as they end, as server-sent events; ?service= ?method= ?path= ?status=5xx ?rate=100',
      tapRoute(options.tap),
    ),
  ];
}

function changingRoutes(options: AdminOptions): AdminRoute[] {
  const post = (path: string, about: string, handle: AdminRoute['handle']): AdminRoute => {
    return { method: 'POST', path, about, handle };
  };
  const { log } = options;
  const overrule = overruleRoute(options);
  const noteVerb = (request: FastifyRequest, verb: string) => {
    const operator = request.headers['x-outrigger-operator'];
    log.logger.warn({ verb, remote: request.ip, operator }, `admin: ${verb}`);
  };
  const healthcheck = (isFailing: boolean) => (request: FastifyRequest) => {
    noteVerb(request, `healthcheck ${isFailing ? 'fail' : 'ok'}`);
    options.failHealthcheck(isFailing);
    return { isFailing };
  };
  return [
    post('/logging', 'changes the log level until the next start: ?level=debug', (request, reply) => {
      const level = LOG_LEVELS.find((one) => one === query(request, 'level'));
      if (level === undefined) return sendProblem(reply, 400, `level must be one of ${LOG_LEVELS.join(', ')}`);
      noteVerb(request, `log level ${log.level()} to ${level}`);
      log.setLevel(level);
      return { level };
    }),
    post('/drain', 'finishes what is in flight and asks every caller to close; there is no way back', (request) => {
      noteVerb(request, 'drain');
      options.drain();
      return { isDraining: true };
    }),
    post(
      '/endpoints/:service/:verb',
      'eject, drain or restore one endpoint: ?endpoint=payments-2&for=5m&reason=TEXT; &force=true for the last that serves',
      (request, reply) => {
        const { service, verb } = request.params as { readonly service: string; readonly verb: string };
        noteVerb(request, `${verb} an endpoint of ${service}`);
        return overrule(request, reply);
      },
    ),
    post('/healthcheck/fail', '/ready answers 503 until told otherwise', healthcheck(true)),
    post('/healthcheck/ok', 'takes /healthcheck/fail back', healthcheck(false)),
  ];
}

function serverInfo(options: AdminOptions): object {
  const isReady = options.notReady().length === 0;
  return {
    service: options.service,
    agentId: options.agentId,
    version: options.softwareVersion,
    nodeVersion: process.version,
    pid: process.pid,
    // Envoy's words for the state.
    state: options.isDraining() ? 'DRAINING' : isReady ? 'LIVE' : 'PRE_INITIALIZING',
    uptimeSeconds: Math.round(process.uptime()),
    logLevel: options.log.level(),
    droppedLogLines: options.log.droppedLines(),
    policyVersion: options.policy().appliedVersion,
    isControlPlaneConnected: options.policy().isConnected,
  };
}

/** A query value; the first when it is given twice. */
function query(request: FastifyRequest, name: string): string | null {
  const value = (request.query as Readonly<Record<string, string | string[] | undefined>>)[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

function isSample(line: string): boolean {
  return line !== '' && !line.startsWith('#');
}
