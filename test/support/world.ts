// A mesh of real processes for integration tests: applications, an agent in front of each, a control plane, and load.

import { writeFileSync } from 'node:fs';
import { Agent, get, request } from 'node:http';
import { join } from 'node:path';
import { freePorts, type RunningProcess, startNode, type Teardown, temporaryFolder, until } from './processes.ts';

export interface AgentProcess {
  readonly process: RunningProcess;
  readonly name: string;
  readonly outbound: number;
  readonly inbound: number;
  readonly admin: number;
  readonly stateDir: string;
  readonly configFile: string;
  /**
   * Starts a new process with the same configuration and state; resolves once it is ready. With `sharePorts` the process
   * before it may still run.
   */
  restart(): Promise<AgentProcess>;
}

export interface Instance {
  readonly name: string;
  readonly app: RunningProcess;
  readonly agent: AgentProcess;
}

export interface WorldOptions {
  readonly consulUrl: string;
  readonly controlPlaneUrl?: string;
  readonly t: Teardown;
}

export interface AgentStart {
  readonly service: string;
  readonly id: string;
  readonly appPort: number | null;
  readonly upstreams?: readonly string[];
  /** What is to be found there belongs to the test; by default a folder of its own. */
  readonly stateDir?: string;
  readonly sharePorts?: boolean;
  /** What the start waits for: `/ready`, or only `/live` where Consul is not there. Default ready. */
  readonly until?: 'ready' | 'live';
}

/** An agent beside nothing (`appPort` null) or beside the application on `appPort`. */
export async function startAgent(world: WorldOptions, options: AgentStart): Promise<AgentProcess> {
  const [outbound = 0, inbound = 0, admin = 0] = await freePorts(3);
  const folder = temporaryFolder(world.t);
  const configFile = join(folder, 'agent.json');
  const { stateDir = join(folder, 'state') } = options;
  const config = {
    service: {
      name: options.service,
      id: options.id,
      address: '127.0.0.1',
      ...(options.appPort === null
        ? { register: false }
        : { port: options.appPort, check: { http: '/healthz', interval: '1s', timeout: '500ms' } }),
    },
    listeners: {
      outbound: `127.0.0.1:${outbound}`,
      ...(options.appPort === null ? {} : { inbound: `127.0.0.1:${inbound}` }),
      admin: `127.0.0.1:${admin}`,
      sharePorts: options.sharePorts ?? false,
    },
    upstreams: (options.upstreams ?? []).map((service) => ({ service })),
    consul: { url: world.consulUrl },
    controlPlane: world.controlPlaneUrl === undefined ? false : { url: world.controlPlaneUrl },
    stateDir,
    log: { level: 'info' },
  };
  writeFileSync(configFile, JSON.stringify(config));
  const start = async (): Promise<AgentProcess> => {
    const process = startNode(world.t, ['cli/main.ts', 'agent', '--config', configFile]);
    if (options.sharePorts === true) await untilLive(admin, process);
    else await untilAnswering(`http://127.0.0.1:${admin}/${options.until ?? 'ready'}`, process);
    return { process, name: options.id, outbound, inbound, admin, stateDir, configFile, restart: start };
  };
  return start();
}

/** An application process with its agent in front, registered in Consul. */
export async function startInstance(
  world: WorldOptions,
  service: string,
  id: string,
  options: Pick<AgentStart, 'sharePorts'> = {},
): Promise<Instance> {
  const [appPort = 0] = await freePorts(1);
  const app = startNode(world.t, ['test/support/echo-app.ts', String(appPort), id]);
  await app.waitFor('listening');
  const agent = await startAgent(world, { service, id, appPort, ...options });
  return { name: id, app, agent };
}

/** Until this process, among those that share the port, says that it is ready; each question is a connection of its own. */
async function untilLive(admin: number, process: RunningProcess): Promise<void> {
  const { child } = process;
  await until(
    async () => {
      if (child.exitCode !== null) throw new Error(`the agent ended:\n${process.output()}`);
      const answer = await call(`http://127.0.0.1:${admin}/server_info`, { headers: { connection: 'close' } }).catch(
        () => null,
      );
      if (answer?.status !== 200) return false;
      const info: { pid?: number; state?: string } = JSON.parse(answer.body);
      return info.pid === child.pid && info.state === 'LIVE' && process.output().includes('agent started');
    },
    15_000,
    () => `pid ${child.pid} on ${admin}:\n${process.output()}`,
  );
}

async function untilAnswering(url: string, process: RunningProcess): Promise<void> {
  await until(
    async () => {
      if (process.child.exitCode !== null) throw new Error(`the agent ended:\n${process.output()}`);
      return (await fetchStatus(url)) === 200;
    },
    15_000,
    () => `${url}:\n${process.output()}`,
  );
}

async function fetchStatus(url: string): Promise<number> {
  return fetch(url).then(
    (response) => response.body?.cancel().then(() => response.status) ?? response.status,
    () => 0,
  );
}

/** A control plane with its own SQLite file and no registry of its own. */
export async function startControlPlane(
  t: Teardown,
  options: { registry?: boolean } = {},
): Promise<{ process: RunningProcess; url: string; registryUrl: string; restart(): Promise<RunningProcess> }> {
  const [port = 0, registryPort = 0] = await freePorts(2);
  const folder = temporaryFolder(t);
  const configFile = join(folder, 'control-plane.json');
  writeFileSync(
    configFile,
    JSON.stringify({
      listen: `127.0.0.1:${port}`,
      store: { sqlite: join(folder, 'policies.db') },
      registry: options.registry === true ? { listen: `127.0.0.1:${registryPort}` } : false,
    }),
  );
  const url = `http://127.0.0.1:${port}`;
  const start = async (): Promise<RunningProcess> => {
    const process = startNode(t, ['cli/main.ts', 'control-plane', '--config', configFile]);
    await until(
      async () => (await fetchStatus(`${url}/ready`)) === 200,
      15_000,
      () => `control plane ready:\n${process.output()}`,
    );
    return process;
  };
  return { process: await start(), url, registryUrl: `http://127.0.0.1:${registryPort}`, restart: start };
}

export interface LoadResult {
  readonly sent: number;
  readonly answered: Readonly<Record<string, number>>;
  /** Anything but a 200: status or error code, with the reason header when there was one. */
  readonly failures: readonly string[];
}

/** Open-loop GETs at a fixed rate over keep-alive connections; each answer's body is counted by its text. */
export class Load {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #answered: Record<string, number> = {};
  readonly #failures: string[] = [];
  readonly #pending = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #sent = 0;

  constructor(port: number, host: string, ratePerSecond: number) {
    const startedAt = performance.now();
    this.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - startedAt) * ratePerSecond) / 1000);
      while (this.#sent < due) {
        this.#sent++;
        const one = this.#one(port, host);
        this.#pending.add(one);
        void one.then(() => this.#pending.delete(one));
      }
    }, 5);
  }

  #one(port: number, host: string): Promise<void> {
    return new Promise((resolve) => {
      const fail = (what: string): void => {
        this.#failures.push(what);
        resolve();
      };
      const call = get({ port, host: '127.0.0.1', path: '/', headers: { host }, agent: this.#agent }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => {
          if (response.statusCode !== 200) {
            return fail(`${response.statusCode} ${response.headers['x-outrigger-reason'] ?? ''} ${body}`);
          }
          this.#answered[body] = (this.#answered[body] ?? 0) + 1;
          resolve();
        });
        response.on('error', (error) => fail(`body ${error.message}`));
      });
      call.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
      call.setTimeout(20_000, () => call.destroy(new Error('no answer in 20 s')));
    });
  }

  /** A copy of the answers counted so far, by body. */
  answered(): Record<string, number> {
    return { ...this.#answered };
  }

  failures(): readonly string[] {
    return [...this.#failures];
  }

  /** Stops sending and waits for what is under way. */
  async stop(): Promise<LoadResult> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
    this.#agent.destroy();
    return { sent: this.#sent, answered: this.answered(), failures: this.failures() };
  }
}

/** One request, answered whole. */
export function call(
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; headers: Record<string, string | string[] | undefined>; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: options.method ?? 'GET', headers: options.headers ?? {} }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(options.body);
  });
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
