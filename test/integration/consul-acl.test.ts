// Least privilege: a real Consul that denies by default, and an agent whose token may write its own service and read the others. It
// has all it needs, may not pass for another service, and losing the token empties nothing.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import { ask } from '../support/control-plane-client.ts';
import { startOrigin } from '../support/origin.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const MASTER = 'root-of-this-test';
const DENYING = { acl: { enabled: true, default_policy: 'deny', tokens: { master: MASTER } } };
/** What docs/security.md tells people to give. */
const RULES = `service "orders" { policy = "write" }
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }`;

interface Token {
  readonly secret: string;
  readonly accessor: string;
}

async function makeToken(consul: string, rules: string): Promise<Token> {
  const asMaster = { 'x-consul-token': MASTER };
  const policy = await ask(`${consul}/v1/acl/policy`, 'PUT', { Name: 'orders-agent', Rules: rules }, asMaster);
  const made = await ask(`${consul}/v1/acl/token`, 'PUT', { Policies: [{ ID: policy.body.ID }] }, asMaster);
  return { secret: String(made.body.SecretID), accessor: String(made.body.AccessorID) };
}

async function startService(t: Test, consul: string, name: string, token: string) {
  const folder = temporaryFolder(t);
  const [outbound = 0, inbound = 0, admin = 0] = await freePorts(3);
  const app = await startOrigin(t);
  const tokenFile = join(folder, 'consul.token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  const file = join(folder, 'agent.json');
  writeFileSync(
    file,
    JSON.stringify({
      service: { name, id: `${name}-1`, port: app.port },
      listeners: {
        outbound: `127.0.0.1:${outbound}`,
        inbound: `127.0.0.1:${inbound}`,
        admin: `127.0.0.1:${admin}`,
      },
      upstreams: [{ service: 'stock' }],
      consul: { url: consul, tokenFile },
      controlPlane: false,
      stateDir: join(folder, 'state'),
    }),
  );
  const config = loadAgentConfig({ file, env: {}, readFile: (path) => readFileSync(path, 'utf8') });
  if (!config.ok) throw new Error(JSON.stringify(config.problems));
  const log = openLog({ level: 'silent', name: 'test' });
  const agent = createAgent({ config: config.value, localPolicies: null, log, softwareVersion: 'test' });
  t.teardown(() => agent.stop(500));
  await agent.start();
  const admins = `http://127.0.0.1:${admin}`;
  return {
    dump: async () => (await fetch(`${admins}/config_dump`)).text(),
    stock: async () => {
      const views = (await (await fetch(`${admins}/clusters?format=json`)).json()) as {
        service: string;
        endpoints: unknown[];
        holding: string | null;
      }[];
      return views.find(({ service }) => service === 'stock');
    },
    events: async () => ((await (await fetch(`${admins}/events`)).json()) as { events: MeshEvent[] }).events,
  };
}

t.test('an agent lives on a token of least privilege', { timeout: 90_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url } = await startConsul(t, { configFiles: [DENYING], token: MASTER });
  const asMaster = { 'x-consul-token': MASTER };
  const stock = { Name: 'stock', ID: 'stock-1', Address: '127.0.0.1', Port: (await startOrigin(t)).port };
  t.equal((await ask(`${url}/v1/agent/service/register`, 'PUT', stock, asMaster)).status, 200);
  const token = await makeToken(url, RULES);

  const orders = await startService(t, url, 'orders', token.secret);
  const registered = async (name: string): Promise<number> => {
    const answer = await fetch(`${url}/v1/health/service/${name}`, { headers: asMaster });
    return ((await answer.json()) as unknown[]).length;
  };
  await until(
    async () => (await registered('orders')) === 1,
    15_000,
    () => 'orders is registered',
  );
  await until(
    async () => (await orders.stock())?.endpoints.length === 1,
    15_000,
    () => 'orders finds stock',
  );
  t.notMatch(await orders.dump(), token.secret, 'the token is in no dump');

  // The same token beside another service: it must not be able to pass for it.
  const payments = await startService(t, url, 'payments', token.secret);
  await until(
    async () => (await payments.events()).some(({ text }) => /403|[Pp]ermission denied/.test(text)),
    15_000,
    () => 'the refusal is told',
  );
  t.equal(await registered('payments'), 0);
  t.equal((await payments.stock())?.endpoints.length, 1, 'it reads all the same');

  // Revoked: what is known stays, and is said to be old.
  const gone = await ask(`${url}/v1/acl/token/${token.accessor}`, 'DELETE', undefined, asMaster);
  t.equal(gone.status, 200);
  // Wakes the query that waits, which is answered for the token that it no longer has.
  await ask(`${url}/v1/agent/service/register`, 'PUT', { ...stock, Tags: ['again'] }, asMaster);
  await until(
    async () => ((await orders.stock())?.holding ?? null) !== null,
    20_000,
    () => 'the age is shown',
  );
  t.equal((await orders.stock())?.endpoints.length, 1, 'nothing is emptied');
});
