// Keeps the service beside this agent registered in Consul, for as long as the agent lives: Consul may be late, lose its
// state, or refuse. The plain calls go through the `consul` package; the registration itself is our own PUT, because the
// package drops weights and cannot replace checks.

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import Consul from 'consul';
import type { MeshEvent } from '#contract/frames.ts';
import type { Clock, Random } from '../clock.ts';
import type { ConsulAnswer, ConsulClient } from './consul-client.ts';
import { backOffMs } from './pacing.ts';
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
  readonly client: ConsulClient;
  readonly clock: Clock;
  readonly random: Random;
  onEvent(event: MeshEvent): void;
  readonly timing?: Partial<RegistrationTiming>;
}

export interface Registration {
  /**
   * Registers at the listener's address, and again whenever Consul forgot. Resolves after the first try, whatever came of
   * it; the rest goes on in the background until deregister().
   */
  register(listener: RegisteredAddress): Promise<void>;
  /** Consul's maintenance mode of the service. Resolves false when Consul did not take it; that is reported. */
  maintenance(isOn: boolean, reason: string): Promise<boolean>;
  /** Stops verifying and takes the service out of Consul. A failure is reported, never thrown. */
  deregister(deadlineMs: number): Promise<void>;
  /** True while Consul is known to have the service. */
  isRegistered(): boolean;
}

export function createRegistration(options: RegistrationOptions): Registration {
  const { service, client, clock, random, onEvent } = options;
  const timing: RegistrationTiming = {
    verifyMs: 10_000,
    backOffBaseMs: 200,
    backOffCapMs: 10_000,
    callTimeoutMs: 5_000,
    ...options.timing,
  };
  const stop = new AbortController();
  let isRegistered = false;
  let failures = 0;
  let loop: Promise<void> | null = null;

  const emit = (reason: string, text: string): void =>
    onEvent({ atEpochMs: clock.epochMs(), kind: 'lifecycle', service: service.name, endpoint: null, reason, text });

  async function register(listener: RegisteredAddress): Promise<void> {
    if (service.register === 'none' || loop !== null) return;
    const address = advertisedAddress(service, listener);
    const first = Promise.withResolvers<void>();
    loop = keep(address, first.resolve);
    await first.promise;
  }

  async function keep(address: RegisteredAddress, onFirst: () => void): Promise<void> {
    while (!stop.signal.aborted) {
      const fault = isRegistered ? await verify(address) : await put(address);
      if (stop.signal.aborted) break;
      note(fault, address);
      onFirst();
      // A service that Consul forgot is written again at once, by the next turn.
      if (fault === null && !isRegistered) continue;
      const half = timing.verifyMs / 2;
      const delayMs = fault === null ? half + half * random() : backOff();
      await sleep(delayMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    onFirst();
  }

  const backOff = (): number => backOffMs(failures, random, timing.backOffBaseMs, timing.backOffCapMs);

  function note(fault: string | null, { host, port }: RegisteredAddress): void {
    if (fault === null) {
      if (failures > 0) emit('registry_recovered', `Consul takes the registration of ${service.id} again.`);
      failures = 0;
      return;
    }
    failures++;
    if (failures === 1) {
      emit('register_failed', `${service.id} at ${host}:${port} is not confirmed in Consul: ${fault}; trying on.`);
    }
  }

  /** Writes the registration; null when Consul took it, else why not. */
  async function put(address: RegisteredAddress): Promise<string | null> {
    const isPassing = service.check === null || (await isAppAnswering());
    const answer = await client.call({
      method: 'PUT',
      path: '/v1/agent/service/register',
      query: { 'replace-existing-checks': 'true' },
      body: registerPayload(service, address, isPassing),
      signal: stop.signal,
      timeoutMs: timing.callTimeoutMs,
    });
    const fault = faultOf(answer);
    if (fault !== null) return fault;
    isRegistered = true;
    emit('registered', `${service.id} is registered in Consul as ${service.name} at ${address.host}:${address.port}.`);
    return null;
  }

  /** Looks whether Consul still has the service where it is; unsets `isRegistered` when it does not. */
  async function verify(address: RegisteredAddress): Promise<string | null> {
    const answer = await client.call({
      method: 'GET',
      path: `/v1/agent/service/${encodeURIComponent(service.id)}`,
      signal: stop.signal,
      timeoutMs: timing.callTimeoutMs,
    });
    const isLost =
      answer.kind === 'answer' && (answer.status === 404 || (answer.status === 200 && !isAt(answer.text, address)));
    if (isLost) {
      isRegistered = false;
      emit('registration_lost', `Consul no longer knows ${service.id} as it was registered; registering it again.`);
      return null;
    }
    return faultOf(answer);
  }

  /** One request to the application itself, the same that Consul will make through the inbound listener. */
  function isAppAnswering(): Promise<boolean> {
    const { check, port, address } = service;
    if (check === null || check.http === null || port === null) return Promise.resolve(false);
    const url = new URL(checkUrl(check.http, { host: address, port }));
    if (url.protocol !== 'http:') return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const outgoing = get(
      url,
      { signal: AbortSignal.any([stop.signal, AbortSignal.timeout(check.timeoutMs)]) },
      (answer) => {
        answer.resume();
        answer.on('error', () => resolve(false));
        resolve(answer.statusCode !== undefined && answer.statusCode >= 200 && answer.statusCode < 300);
      },
    );
    outgoing.on('error', () => resolve(false));
    return promise;
  }

  async function maintenance(isOn: boolean, reason: string): Promise<boolean> {
    return plainCall('maintenance', timing.callTimeoutMs, (consul, extra) =>
      consul.agent.service.maintenance({ ...extra, id: service.id, enable: isOn, reason }),
    );
  }

  async function deregister(deadlineMs: number): Promise<void> {
    stop.abort();
    await loop;
    if (service.register === 'none' || loop === null) return;
    const isDone = await plainCall('deregister', deadlineMs, (consul, extra) =>
      consul.agent.service.deregister({ ...extra, id: service.id }),
    );
    isRegistered = false;
    if (isDone) emit('deregistered', `${service.id} is no longer registered in Consul.`);
  }

  async function plainCall(
    what: string,
    timeoutMs: number,
    run: (consul: Consul, extra: { readonly timeout: number }) => Promise<unknown>,
  ): Promise<boolean> {
    let consul: Consul | null = null;
    try {
      consul = await plainConsul(client);
      // `timeout` is missing in the package's types and obeyed by its code.
      await run(consul, { timeout: Math.max(1, Math.ceil(timeoutMs)) });
      return true;
    } catch (error) {
      emit(`${what}_failed`, `Consul did not take ${what} of ${service.id}: ${String(error)}.`);
      return false;
    } finally {
      // Its own keep-alive connections would outlive the one call they were made for.
      consul?.destroy();
    }
  }

  return { register, maintenance, deregister, isRegistered: () => isRegistered };
}

/** A client of the `consul` package with the token of this moment. */
async function plainConsul(client: ConsulClient): Promise<Consul> {
  const url = new URL(client.access.url);
  const token = await client.readToken();
  const isTls = url.protocol === 'https:';
  return new Consul({
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
