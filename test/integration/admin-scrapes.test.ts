// The listener for scrapes: figures and probes, and not one of the admin API's other paths or verbs.

import { writeFileSync } from 'node:fs';
import t from 'tap';
import { adminRoutes } from '../../agent/admin/routes.ts';
import { ask, options, start } from '../support/admin-rig.ts';
import { freePorts, startNode, temporaryFolder } from '../support/processes.ts';

t.test('listeners.metrics shows figures, and changes and shows nothing else', async (t) => {
  const [port = 0] = await freePorts(1);
  const usual = options();
  const listeners = { ...usual.config.listeners, metrics: { host: '127.0.0.1', port } };
  let drains = 0;
  const { admin } = await start(t, {
    config: { ...usual.config, listeners },
    drain: () => {
      drains += 1;
    },
  });
  await admin.listenForScrapes();
  const metrics = await ask(port, '/metrics');
  t.equal(metrics.status, 200);
  t.match(metrics.text, /^outrigger_panic/m);
  t.equal((await ask(port, '/live')).status, 200);
  t.equal((await ask(port, '/ready')).status, 200);
  const others = adminRoutes(usual, {}).filter(({ path }) => !['/metrics', '/live', '/ready'].includes(path));
  t.ok(others.length > 12, `${others.length} other paths`);
  for (const { method, path } of others) {
    const { status } = await ask(port, path.replaceAll(/:\w+/g, 'x'), method);
    t.equal(status, 404, `${method} ${path}`);
  }
  for (const method of ['POST', 'PUT', 'DELETE']) t.equal((await ask(port, '/metrics', method)).status, 405, method);
  t.equal((await ask(port, '/metrics', 'GET', { host: 'evil.example' })).status, 403, 'a name that is not ours');
  t.equal(drains, 0);
});

t.test('an agent opens it, and closes it with itself', async (t) => {
  const [outbound = 0, admin = 0, metrics = 0] = await freePorts(3);
  const folder = temporaryFolder(t);
  const at = (port: number) => `127.0.0.1:${port}`;
  const config = {
    service: { name: 'web', register: false },
    listeners: { outbound: at(outbound), admin: at(admin), metrics: at(metrics) },
    consul: false,
    controlPlane: false,
    stateDir: `${folder}/state`,
  };
  writeFileSync(`${folder}/agent.json`, JSON.stringify(config));
  const agent = startNode(t, ['cli/main.ts', 'agent', '--config', `${folder}/agent.json`]);
  await agent.waitFor('agent started');
  t.match(await (await fetch(`http://${at(metrics)}/metrics`)).text(), /outrigger_build_info/);
  t.equal((await fetch(`http://${at(metrics)}/config_dump`)).status, 404);
  t.equal(await agent.end(), 0);
});
