// The demo's mesh on paper: web → orders → payments, seven instances, each with its own agent. Pure; ports are handed in.

/** One instance: a sample app and the agent in front of it. */
export interface Instance {
  readonly service: string;
  readonly id: string;
  readonly calls: string | null;
  readonly ports: { readonly app: number; readonly inbound: number; readonly outbound: number; readonly admin: number };
}

export interface Topology {
  readonly instances: readonly Instance[];
  readonly controlPlanePort: number;
  readonly registryPort: number;
  /** A Consul that runs already; null: the control plane runs the embedded registry at `registryPort`. */
  readonly consulUrl: string | null;
  /** Where the sample apps are told to misbehave. */
  readonly faultPort: number;
}

const SERVICES = [
  { service: 'web', count: 1, calls: 'orders' },
  { service: 'orders', count: 2, calls: 'payments' },
  { service: 'payments', count: 4, calls: null },
] as const;

const PORTS_PER_INSTANCE = 4;

export const INSTANCE_COUNT = SERVICES.reduce((sum, { count }) => sum + count, 0);
export const PORT_COUNT = INSTANCE_COUNT * PORTS_PER_INSTANCE + 3;

/** @param ports  PORT_COUNT free ports, all different */
export function buildTopology(ports: readonly number[], consulUrl: string | null = null): Topology {
  const left = [...ports];
  const take = (): number => {
    const port = left.shift();
    if (port === undefined) throw new RangeError(`the demo needs ${PORT_COUNT} ports, got ${ports.length}`);
    return port;
  };
  return {
    controlPlanePort: take(),
    registryPort: take(),
    consulUrl,
    faultPort: take(),
    instances: SERVICES.flatMap(({ service, count, calls }) =>
      Array.from({ length: count }, (_, index) => ({
        service,
        id: `${service}-${index + 1}`,
        calls,
        ports: { app: take(), inbound: take(), outbound: take(), admin: take() },
      })),
    ),
  };
}

/** Configuration of one agent, as its file will say it. */
export function agentConfig(topology: Topology, instance: Instance, stateDir: string): object {
  const { service, id, calls, ports } = instance;
  return {
    service: {
      name: service,
      id,
      port: ports.app,
      address: '127.0.0.1',
      check: { http: '/healthz', interval: '2s', timeout: '1s' },
    },
    listeners: {
      outbound: `127.0.0.1:${ports.outbound}`,
      inbound: `127.0.0.1:${ports.inbound}`,
      admin: `127.0.0.1:${ports.admin}`,
    },
    ...(calls === null ? {} : { upstreams: [{ service: calls }] }),
    consul: { url: consulUrlOf(topology) },
    controlPlane: { url: controlPlaneUrl(topology) },
    stateDir,
    log: { level: 'warn', access: 'off' },
  };
}

export function controlPlaneConfig(topology: Topology, stateDir: string): object {
  return {
    listen: `127.0.0.1:${topology.controlPlanePort}`,
    store: { sqlite: `${stateDir}/policies.db` },
    ...(topology.consulUrl === null ? { registry: { listen: `127.0.0.1:${topology.registryPort}` } } : {}),
    log: { level: 'warn' },
  };
}

export function consulUrlOf({ consulUrl, registryPort }: Topology): string {
  return consulUrl ?? `http://127.0.0.1:${registryPort}`;
}

export function controlPlaneUrl(topology: Topology): string {
  return `http://127.0.0.1:${topology.controlPlanePort}`;
}

/** What `examples/services/apps.ts --apps` takes. */
export function appOptions(topology: Topology): object[] {
  return topology.instances.map(({ service, id, calls, ports }) => ({
    name: service,
    id,
    host: '127.0.0.1',
    port: ports.app,
    next: calls === null ? null : { service: calls, host: '127.0.0.1', port: ports.outbound },
  }));
}
