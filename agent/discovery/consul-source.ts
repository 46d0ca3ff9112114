// Asks Consul itself, with blocking queries. Reads the answer and judges nothing of it.

import { createHash } from 'node:crypto';
import { type DecodedHealth, decodeHealth } from '#contract/consul/health.ts';
import type { ConsulClient } from './consul-client.ts';
import type { HealthAnswer, HealthQuestion, HealthSource } from './health-source.ts';

/** LastContact above this means a server that was cut off from its leader, ms. */
const LONG_CONTACT_MS = 10_000;

export function createConsulSource(client: ConsulClient): HealthSource {
  return { ask: (question) => ask(client, question) };
}

async function ask(client: ConsulClient, question: HealthQuestion): Promise<HealthAnswer> {
  const { service, index, waitMs, timeoutMs, signal } = question;
  const path = `/v1/health/service/${encodeURIComponent(service)}`;
  const query = index === null ? {} : { query: { index: String(index), wait: `${waitMs}ms` } };
  const answer = await client.call({ method: 'GET', path, ...query, signal, timeoutMs });
  if (answer.kind === 'failure') {
    if (answer.reason === 'stopped') return { kind: 'stopped' };
    return failure(answer.text, answer.reason === 'unreachable' || answer.reason === 'closed');
  }
  const { status, headers, text } = answer;
  if (status !== 200) return failure(`Consul answered ${status}: ${firstLine(text)}`);
  const found = headers['x-consul-index'];
  if (found === undefined) return failure(`an answer without X-Consul-Index, so not from Consul: ${firstLine(text)}`);
  const health = parseHealth(text, service);
  if (health === null) return failure(`an answer that is not a list of instances: ${firstLine(text)}`);
  const isFiltered = headers['x-consul-results-filtered-by-acls'] === 'true';
  const isUncertain =
    headers['x-consul-knownleader'] === 'false' || Number(headers['x-consul-lastcontact'] ?? 0) > LONG_CONTACT_MS;
  return {
    kind: 'health',
    origin: 'consul',
    facts: { health, isFiltered, isUncertain },
    digest: createHash('sha1').update(text).digest('base64'),
    index: found,
    ageMs: 0,
    recoveredMs: null,
    isDenied: false,
  };
}

function failure(text: string, wasGone = false): HealthAnswer {
  return { kind: 'failure', origin: 'consul', text, wasGone };
}

function parseHealth(text: string, service: string): DecodedHealth | null {
  try {
    return decodeHealth(JSON.parse(text), service);
  } catch {
    // Not JSON: the caller quotes its first line.
    return null;
  }
}

function firstLine(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}
