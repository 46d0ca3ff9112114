// A control plane whose Consul fell silent: nothing is refused and nothing is answered, as behind a firewall that swallows. Every
// request gets an answer all the same, soon, and no answer says less or more about a write than is known.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { type Gate, startGate } from '../support/gate.ts';
import { until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

/** A write is tried for 5 s; the rest is for a machine that is busy. */
const ANSWERED_WITHIN_MS = 8_000;
const ADMIN = { authorization: 'Bearer bootstrap-secret-of-this-test' };

interface World {
  readonly url: string;
  readonly gate: Gate;
}

async function startWorld(t: Test): Promise<World> {
  const consul = await startConsul(t);
  const gate = await startGate(t, consul.url);
  const bootstrapToken = ADMIN.authorization.slice('Bearer '.length);
  const { url } = await startControlPlane(t, { consulUrl: gate.url, bootstrapToken });
  return { url, gate };
}

const policy = (name: string, attempts = 1) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name },
  spec: { retries: { attempts } },
});

interface Timed {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly type: string | null;
  readonly ms: number;
}

async function timed(
  url: string,
  method: string,
  body?: unknown,
  headers: Record<string, string> = ADMIN,
): Promise<Timed> {
  const startedAt = performance.now();
  const answer = await ask(url, method, body, headers);
  const type = answer.headers.get('content-type');
  return { status: answer.status, body: answer.body, type, ms: performance.now() - startedAt };
}

t.test('cut off before the write', { timeout: 120_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url, gate } = await startWorld(t);
  const put = (name: string): Promise<Timed> => timed(`${url}/v1/policies/ServicePolicy/${name}`, 'PUT', policy(name));
  t.equal((await put('a')).status, 201);
  gate.cut();

  const refused = (answer: Timed, what: string): void => {
    t.match(answer, { status: 503, type: /^application\/problem\+json/, body: { code: 'OTR_ERR_UNAVAILABLE' } }, what);
    t.ok(answer.ms < ANSWERED_WITHIN_MS, `${what}: ${Math.round(answer.ms)} ms`);
    t.comment(`${what}: ${answer.status} after ${Math.round(answer.ms)} ms`);
  };
  refused(await put('b'), 'the first write');
  refused(await put('b'), 'the second');
  const names = ['c', 'd', 'e', 'f', 'g', 'h'];
  const several = await Promise.all(names.map(put));
  for (const [position, answer] of several.entries()) refused(answer, `one of six at once (${names[position]})`);
  refused(await timed(`${url}/v1/tokens`, 'POST', { name: 'x', role: 'viewer' }), 'a token');

  const reads = [
    ['/v1/policies', 200],
    ['/v1/policies/ServicePolicy/a', 200],
    ['/v1/policies/ServicePolicy/a/history', 503],
    ['/v1/audit', 503],
    ['/v1/agents', 200],
    ['/ready', 503],
  ] as const;
  for (const [path, status] of reads) {
    const answer = await timed(`${url}${path}`, 'GET');
    t.equal(answer.status, status, path);
    t.ok(answer.ms < ANSWERED_WITHIN_MS, `${path}: ${Math.round(answer.ms)} ms`);
  }
  const stranger = await timed(`${url}/v1/policies`, 'GET', undefined, { authorization: 'Bearer nobody' });
  t.equal(stranger.status, 401);
  t.ok(stranger.ms < ANSWERED_WITHIN_MS, `a stranger: ${Math.round(stranger.ms)} ms`);

  gate.heal();
  await until(async () => (await put('b')).status === 201, 30_000);
  const { body } = await timed(`${url}/v1/policies`, 'GET');
  t.same(
    (body.policies as { id: string }[]).map(({ id }) => id),
    ['ServicePolicy/a', 'ServicePolicy/b'],
    'what was refused is not there',
  );
});

t.test(
  'cut off in the middle of writes: none is called refused that is there later',
  { timeout: 120_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const { url, gate } = await startWorld(t);
    const answers: (Timed & { readonly name: string })[] = [];
    let isCut = false;
    const write = async (writer: number): Promise<void> => {
      // Each goes on until it met the cut.
      for (let count = 0; !isCut || count === 0; count++) {
        const name = `w${writer}-${count}`;
        answers.push({ name, ...(await timed(`${url}/v1/policies/ServicePolicy/${name}`, 'PUT', policy(name))) });
      }
    };
    for (let round = 0; round < 3; round++) {
      isCut = false;
      answers.length = 0;
      const writing = Promise.all([0, 1, 2].map((writer) => write(round * 3 + writer)));
      await sleep(300 + 37 * round);
      gate.cut();
      isCut = true;
      await writing;
      gate.heal();
      const listed = async (): Promise<Set<string>> => {
        const { body } = await timed(`${url}/v1/policies?limit=500`, 'GET');
        return new Set((body.policies as { id: string }[]).map(({ id }) => id.slice('ServicePolicy/'.length)));
      };
      await until(async () => (await timed(`${url}/ready`, 'GET')).status === 200, 30_000);
      const there = await listed();
      const count = (status: number, code?: string): number =>
        answers.filter((answer) => answer.status === status && (code === undefined || answer.body.code === code))
          .length;
      const unknown = count(503, 'OTR_ERR_OUTCOME_UNKNOWN');
      const refused = count(503, 'OTR_ERR_UNAVAILABLE');
      const longestMs = Math.round(Math.max(...answers.map(({ ms }) => ms)));
      t.comment(
        `${count(201)} acknowledged, ${unknown} unknown, ${refused} refused; the longest answer took ${longestMs} ms`,
      );
      t.equal(count(201) + unknown + refused, answers.length, 'every answer is one of the three');
      t.ok(longestMs < ANSWERED_WITHIN_MS, `${longestMs} ms`);
      const lost = answers.filter(({ status, name }) => status === 201 && !there.has(name));
      t.same(lost, [], 'what was acknowledged is there');
      const denied = answers.filter(({ body, name }) => body.code === 'OTR_ERR_UNAVAILABLE' && there.has(name));
      t.same(denied, [], 'what was refused is not');
      // Until changes are taken again.
      await until(async () => {
        const name = `again-${round}`;
        return (await timed(`${url}/v1/policies/ServicePolicy/${name}`, 'PUT', policy(name))).status < 300;
      }, 30_000);
    }
  },
);
