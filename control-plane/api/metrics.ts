// The control plane's own Prometheus text. Values are read at scrape; only requests, pushes and verdicts are counted as they
// happen. Labels are bounded: routes are patterns, services at most SERVICE_LABEL_LIMIT.

import type { FastifyInstance } from 'fastify';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { AgentState } from '../core/ledger.ts';
import type { SloView } from '../core/slo/book.ts';
import type { ServiceView } from '../core/views.ts';
import { textAnswer } from './answers.ts';
import { addSloGauges } from './slo-metrics.ts';

export const SERVICE_LABEL_LIMIT = 500;
/** Gauges of prom-client that are named like counters, which promtool refuses. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

export interface MetricsSources {
  readonly softwareVersion: string;
  readonly policyVersion: () => number;
  readonly agentStates: () => readonly AgentState[];
  /** Open policy streams. */
  readonly streams: () => number;
  /** Services that are watched in Consul for agents. */
  readonly watches: () => number;
  readonly services: () => readonly ServiceView[];
  /** Of at most SERVICE_LABEL_LIMIT services. */
  readonly slos: () => readonly SloView[];
}

export class ControlPlaneMetrics {
  readonly #registry = new Registry();
  readonly #pushes: Counter;
  readonly #endpointPushes: Counter;
  readonly #endpointCharacters: Counter;
  readonly #verdicts: Counter<'verdict'>;
  readonly #requests: Counter<'method' | 'route' | 'code_class'>;

  constructor(sources: MetricsSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name);
    this.#pushes = new Counter({
      name: 'outrigger_control_plane_pushes_total',
      help: 'Policy sets written to agents.',
      registers,
    });
    this.#endpointPushes = new Counter({
      name: 'outrigger_control_plane_endpoint_pushes_total',
      help: 'Events about endpoints written to agents.',
      registers,
    });
    this.#endpointCharacters = new Counter({
      name: 'outrigger_control_plane_endpoint_push_characters_total',
      help: 'Size of the events about endpoints, in characters; bytes unless there are others than ASCII.',
      registers,
    });
    this.#verdicts = new Counter({
      name: 'outrigger_control_plane_verdicts_total',
      help: 'Answers to pushes: ack, nack, or stale when another push had followed.',
      labelNames: ['verdict'],
      registers,
    });
    this.#requests = new Counter({
      name: 'outrigger_control_plane_http_requests_total',
      help: 'Requests to the API by route pattern.',
      labelNames: ['method', 'route', 'code_class'],
      registers,
    });
    addGauges(sources, registers);
    addSloGauges(() => sources.slos(), registers);
  }

  countPush(): void {
    this.#pushes.inc();
  }

  countEndpoints(characters: number): void {
    this.#endpointPushes.inc();
    this.#endpointCharacters.inc(characters);
  }

  countVerdict(verdict: 'ack' | 'nack' | 'stale'): void {
    this.#verdicts.inc({ verdict });
  }

  countRequest(method: string, route: string, status: number): void {
    this.#requests.inc({ method, route, code_class: `${Math.floor(status / 100)}xx` });
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }
}

function addGauges(sources: MetricsSources, registers: Registry[]): void {
  new Gauge({
    name: 'outrigger_control_plane_build_info',
    help: 'Always 1; the version is in the label.',
    labelNames: ['version'],
    registers,
  }).set({ version: sources.softwareVersion }, 1);
  new Gauge({
    name: 'outrigger_control_plane_policy_version',
    help: 'Version of the policy set in force.',
    registers,
    collect() {
      this.set(sources.policyVersion());
    },
  });
  new Gauge({
    name: 'outrigger_control_plane_agents',
    help: 'Known agents by state.',
    labelNames: ['state'],
    registers,
    collect() {
      const states = sources.agentStates();
      for (const state of ['live', 'stale']) this.set({ state }, states.filter((one) => one === state).length);
    },
  });
  new Gauge({
    name: 'outrigger_control_plane_streams',
    help: 'Open policy streams.',
    registers,
    collect() {
      this.set(sources.streams());
    },
  });
  new Gauge({
    name: 'outrigger_control_plane_endpoint_watches',
    help: 'Services that are watched in Consul for agents, each by one blocking query.',
    registers,
    collect() {
      this.set(sources.watches());
    },
  });
  new Gauge({
    name: 'outrigger_control_plane_service_availability_ratio',
    help: 'Good requests as a share of valid ones, as callers saw them; life is since the control plane first heard of it.',
    labelNames: ['service', 'window'],
    registers,
    collect() {
      this.reset();
      for (const { service, availability } of sources.services().slice(0, SERVICE_LABEL_LIMIT)) {
        const { life, lastMinute } = availability;
        if (life.ratio !== null) this.set({ service, window: 'life' }, life.ratio);
        if (lastMinute.ratio !== null) this.set({ service, window: '1m' }, lastMinute.ratio);
      }
    },
  });
}

export async function metricsRoutes(
  app: FastifyInstance,
  { metrics }: { metrics: ControlPlaneMetrics },
): Promise<void> {
  const schema = {
    summary: 'Prometheus metrics',
    tags: ['health'],
    response: { 200: textAnswer('samples', 'text/plain') },
  };
  app.get('/metrics', { config: { access: ['viewer'] as const }, schema }, async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await metrics.render()),
  );
}
