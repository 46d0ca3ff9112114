// Keeps the service beside this agent registered in Consul, for as long as the agent lives: Consul may be late, lose its
// state, or refuse. The plain calls go through the `consul` package; the registration itself is our own PUT, because the
// package drops weights and cannot replace checks.

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type Consul from 'consul';
import { LIFE_KEY } from '#contract/consul/health.ts';
import type { MeshEvent } from '#contract/frames.ts';
import type { Clock, Random } from '../clock.ts';
import { backOffMs } from '../core/back-off.ts';
import type { ConsulAnswer, ConsulClient } from './consul-client.ts';
import {
  advertisedAddress,
  checkUrl,
  type RegisteredAddress,
  registerPayload,
  type ServiceConfig,
} from './register-payload.ts';

export interface RegistrationTiming {
  /** Between two looks whether Consul still knows the service, half of it by chance. */
  readonly verifyMs: number;
  readonly backOffBaseMs: number;
  readonly backOffCapMs: number;
  readonly callTimeoutMs: number;
}

export interface RegistrationOptions {
  readonly service: ServiceConfig;
  /** Names this process: what another one wrote under the same id is its own. */
  readonly life: string;
  readonly client: ConsulClient;
  readonly clock: Clock;
  readonly random: Random;
  onEvent(event: MeshEvent): void;
  readonly timing?: Partial<RegistrationTiming>;
}

const DEFAULT_TIMING: RegistrationTiming = {
  verifyMs: 10_000,
  backOffBaseMs: 200,
  backOffCapMs: 10_000,
  callTimeoutMs: 5_000,
};

export function createRegistration(options: RegistrationOptions): Registration {
  return new Registration(options);
}

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #timing: RegistrationTiming;
  readonly #stop = new AbortController();
  #isRegistered = false;
  #failures = 0;
  /** Reason of the maintenance mode that is wanted; a registration that Consul lost comes back without it. */
  #maintenanceReason: string | null = null;
  #isTakenOver = false;
  #loop: Promise<void> | null = null;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
  }

  /**
   * Registers at the listener's address, and again whenever Consul forgot. Resolves after the first try, whatever came of
   * it; the rest goes on in the background until deregister().
   */
  async register(listener: RegisteredAddress): Promise<void> {
    const { service } = this.#options;
    if (service.register === 'none' || this.#loop !== null) return;
    const first = Promise.withResolvers<void>();
    this.#loop = this.#keep(advertisedAddress(service, listener), first.resolve);
    await first.promise;
  }

  /** True while Consul is known to have the service. */
  isRegistered(): boolean {
    return this.#isRegistered;
  }

  /**
   * Consul's maintenance mode of the service, set again after every later registration. Resolves false when Consul did not
   * take it, which is reported, or when the registration is not ours (any more).
   */
  async maintenance(isOn: boolean, reason: string): Promise<boolean> {
    this.#maintenanceReason = isOn ? reason : null;
    if (this.#loop === null) return false;
    if (await this.#lookForSuccessor(this.#timing.callTimeoutMs)) return false;
    return this.#putMaintenance(isOn, reason);
  }

  #putMaintenance(isOn: boolean, reason: string): Promise<boolean> {
    const { id } = this.#options.service;
    return this.#plainCall('maintenance', this.#timing.callTimeoutMs, (consul, extra) =>
      consul.agent.service.maintenance({ ...extra, id, enable: isOn, reason }),
    );
  }

  /**
   * Stops verifying and takes the service out of Consul, unless another process registered it meanwhile. A failure is
   * reported, never thrown.
   *
   * @returns whether a successor holds the registration
   */
  async deregister(deadlineMs: number): Promise<boolean> {
    const { clock, service } = this.#options;
    const { id } = service;
    const deadlineAt = clock.now() + deadlineMs;
    this.#stop.abort();
    if (this.#loop === null) return false;
    await this.#loop;
    this.#isRegistered = false;
    if (await this.#lookForSuccessor(deadlineMs)) return true;
    const isDone = await this.#plainCall('deregister', deadlineAt - clock.now(), (consul, extra) =>
      consul.agent.service.deregister({ ...extra, id }),
    );
    if (isDone) this.#emit('deregistered', `${id} is no longer registered in Consul.`);
    return false;
  }

  async #keep(address: RegisteredAddress, onFirst: () => void): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const fault = this.#isRegistered ? await this.#verify(address) : await this.#put(address);
      if (signal.aborted) break;
      this.#note(fault, address);
      onFirst();
      // A service that Consul forgot is written again at once, by the next turn.
      if (fault === null && !this.#isRegistered) continue;
      // The only rejection is our own signal, which ends the loop.
      await sleep(this.#delayMs(fault), undefined, { signal }).catch(() => undefined);
    }
    onFirst();
  }

  #delayMs(fault: string | null): number {
    const { random } = this.#options;
    const { verifyMs, backOffBaseMs, backOffCapMs } = this.#timing;
    return fault === null
      ? verifyMs / 2 + (verifyMs / 2) * random()
      : backOffMs(this.#failures, random, { baseMs: backOffBaseMs, capMs: backOffCapMs });
  }

  #note(fault: string | null, { host, port }: RegisteredAddress): void {
    const { id } = this.#options.service;
    if (fault === null) {
      if (this.#failures > 0) this.#emit('registry_recovered', `Consul takes the registration of ${id} again.`);
      this.#failures = 0;
      return;
    }
    this.#failures++;
    if (this.#failures === 1) {
      this.#emit('register_failed', `${id} at ${host}:${port} is not confirmed in Consul: ${fault}; trying on.`);
    }
  }

  /** Writes the registration; null when Consul took it, else why not. */
  async #put(address: RegisteredAddress): Promise<string | null> {
    const { service, client, life } = this.#options;
    const isPassing = service.check === null || (await isAppAnswering(service, this.#stop.signal));
    const answer = await client.call({
      method: 'PUT',
      path: '/v1/agent/service/register',
      query: { 'replace-existing-checks': 'true' },
      body: registerPayload(service, address, life, isPassing),
      signal: this.#stop.signal,
      timeoutMs: this.#timing.callTimeoutMs,
    });
    const fault = faultOf(answer);
    if (fault !== null) return fault;
    this.#isRegistered = true;
    this.#isTakenOver = false;
    const { host, port } = address;
    this.#emit('registered', `${service.id} is registered in Consul as ${service.name} at ${host}:${port}.`);
    if (this.#maintenanceReason !== null) await this.#putMaintenance(true, this.#maintenanceReason);
    return null;
  }

  /** Looks whether Consul still has the service where it is; it is not registered any more when Consul has not. */
  async #verify(address: RegisteredAddress): Promise<string | null> {
    const { service } = this.#options;
    const answer = await this.#ask(this.#stop.signal, this.#timing.callTimeoutMs);
    if (this.#isOfAnother(answer)) return null;
    const isAnswer = answer.kind === 'answer';
    const isLost = isAnswer && (answer.status === 404 || (answer.status === 200 && !isAt(answer.text, address)));
    if (!isLost) return faultOf(answer);
    this.#isRegistered = false;
    this.#emit('registration_lost', `Consul no longer knows ${service.id} as it was registered; registering it again.`);
    return null;
  }

  /** Whether another process has registered the service meanwhile; a Consul that does not answer is no proof of it. */
  async #lookForSuccessor(timeoutMs: number): Promise<boolean> {
    return this.#isOfAnother(await this.#ask(new AbortController().signal, Math.max(1, timeoutMs)));
  }

  #ask(signal: AbortSignal, timeoutMs: number): Promise<ConsulAnswer> {
    const { service, client } = this.#options;
    return client.call({
      method: 'GET',
      path: `/v1/agent/service/${encodeURIComponent(service.id)}`,
      signal,
      timeoutMs,
    });
  }

  /** What a later process wrote is left alone, wherever it points; said once. */
  #isOfAnother(answer: ConsulAnswer): boolean {
    if (answer.kind === 'failure' || answer.status !== 200) return false;
    const found = lifeIn(answer.text);
    if (found === null || found === this.#options.life) return false;
    if (!this.#isTakenOver) {
      const { id } = this.#options.service;
      this.#emit(
        'registration_taken_over',
        `Another process has registered ${id} in Consul; its registration is left alone.`,
      );
    }
    this.#isTakenOver = true;
    return true;
  }

  async #plainCall(
    what: string,
    timeoutMs: number,
    run: (consul: Consul, extra: { readonly timeout: number }) => Promise<unknown>,
  ): Promise<boolean> {
    const { service, client } = this.#options;
    let consul: Consul | null = null;
    try {
      consul = await plainConsul(client);
      // `timeout` is missing in the package's types and obeyed by its code.
      await run(consul, { timeout: Math.max(1, Math.ceil(timeoutMs)) });
      return true;
    } catch (error) {
      this.#emit(`${what}_failed`, `Consul did not take ${what} of ${service.id}: ${String(error)}.`);
      return false;
    } finally {
      // Its own keep-alive connections would outlive the one call they were made for.
      consul?.destroy();
    }
  }

  #emit(reason: string, text: string): void {
    const { clock, service, onEvent } = this.#options;
    onEvent({ atEpochMs: clock.epochMs(), kind: 'lifecycle', service: service.name, endpoint: null, reason, text });
  }
}

/** One request to the application itself, the same that Consul will make through the inbound listener. */
function isAppAnswering({ check, port, appAddress }: ServiceConfig, stop: AbortSignal): Promise<boolean> {
  if (check === null || check.http === null || port === null) return Promise.resolve(false);
  const url = new URL(checkUrl(check.http, { host: appAddress, port }));
  if (url.protocol !== 'http:') return Promise.resolve(false);
  const signal = AbortSignal.any([stop, AbortSignal.timeout(check.timeoutMs)]);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const outgoing = get(url, { signal }, (answer) => {
    answer.resume();
    answer.on('error', () => resolve(false));
    resolve(answer.statusCode !== undefined && answer.statusCode >= 200 && answer.statusCode < 300);
  });
  outgoing.on('error', () => resolve(false));
  return promise;
}

/** A client of the `consul` package with the token of this moment. */
async function plainConsul(client: ConsulClient): Promise<Consul> {
  // Loaded when it is needed, which is at the end of most lives: it would cost every start 35 ms.
  const { default: Client } = await import('consul');
  const url = new URL(client.access.url);
  const token = await client.readToken();
  const isTls = url.protocol === 'https:';
  return new Client({
    host: url.hostname,
    port: Number(url.port === '' ? (isTls ? 443 : 80) : url.port),
    secure: isTls,
    ...(token === null || token === '' ? {} : { defaults: { token } }),
  });
}

function faultOf(answer: ConsulAnswer): string | null {
  if (answer.kind === 'failure') return answer.text;
  return answer.status === 200 ? null : `Consul answered ${answer.status}: ${answer.text.trim().slice(0, 120)}`;
}

/** Which process wrote the registration; null when it does not say. */
function lifeIn(text: string): string | null {
  try {
    const found: { readonly Meta?: Readonly<Record<string, unknown>> | null } | null = JSON.parse(text);
    const life = found?.Meta?.[LIFE_KEY];
    return typeof life === 'string' ? life : null;
  } catch {
    return null;
  }
}

/** True also when the body cannot be read: an unreadable answer is no proof that the registration is wrong. */
function isAt(text: string, address: RegisteredAddress): boolean {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found !== 'object' || found === null || !('Address' in found) || !('Port' in found)) return true;
    return found.Address === address.host && found.Port === address.port;
  } catch {
    return true;
  }
}
