// discovery: control-plane, and a control plane that stands still with its streams open: no byte says that it is gone.

import t from 'tap';
import { startConsulAgent } from '../support/consul-agents.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

/** 45 s without a byte, then 3 to 6 s of patience; the rest is for a machine that is busy. */
const NOTICED_MS = 70_000;

t.test('a hung control plane is noticed, and a new endpoint found without it', { timeout: 110_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const register = async (port: number): Promise<void> => {
    const body = JSON.stringify({ ID: `p-${port}`, Name: 'payments', Address: '127.0.0.1', Port: port });
    await fetch(`${consul.url}/v1/agent/service/register`, { method: 'PUT', body });
  };
  await register(7001);
  const folder = temporaryFolder(t);
  const discovery = { consul: { url: consul.url } };
  const controlPlane = await startControlPlaneProcess(t, {
    folder,
    store: { sqlite: `${folder}/policies.db` },
    discovery,
  });
  const options = { upstreams: ['payments'], consulUrl: consul.url, controlPlaneUrl: controlPlane.url };
  const agent = await startConsulAgent(t, { id: 'web-1', ...options });
  const has = (ports: string, source: string) => async (): Promise<boolean> =>
    String(await agent.ports('payments')) === ports && (await agent.cluster('payments'))?.source === source;
  await until(has('7001', 'control-plane'), 10_000);

  const { child } = controlPlane.process;
  child.kill('SIGSTOP');
  t.teardown(() => void child.kill('SIGCONT'));
  const stoppedAt = performance.now();
  await register(7002);
  await until(has('7001,7002', 'consul'), NOTICED_MS);
  t.comment(
    `a control plane that hung; the new endpoint came from Consul after ${Math.round(performance.now() - stoppedAt)} ms`,
  );
  const texts = (await agent.events()).filter(({ reason }) => reason === 'source_consul').map(({ text }) => text);
  t.match(texts[0], /nothing heard for 45 s/);
  child.kill('SIGCONT');
});
