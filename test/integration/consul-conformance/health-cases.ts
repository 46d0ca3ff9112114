// Checks, their lifecycle and their order; maintenance.

import { at, type Case, list, pluck, refusal, refused, shape, statuses, until } from './world.ts';

export const healthCases: readonly Case[] = [
  {
    name: 'a TTL check: critical at first, passes, warns, fails, is updated',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'ttl', Check: { CheckID: 'ttl', TTL: '60s' } });
      const seen = [await statuses(w, 'ttl')];
      for (const verb of ['pass?note=p', 'warn?note=w', 'fail?note=f']) {
        await w.put(`/v1/agent/check/${verb.replace('?', '/ttl?')}`);
        seen.push(await statuses(w, 'ttl'));
      }
      await w.put('/v1/agent/check/update/ttl', { Status: 'passing', Output: 'updated' });
      const check = at((await w.get('/v1/health/checks/ttl')).json, 0);
      const odd = refusal(await w.put('/v1/agent/check/update/ttl', { Status: 'odd' }));
      return [seen, at(check, 'Status'), at(check, 'Output'), odd];
    },
    expect: [
      [['critical'], ['passing'], ['warning'], ['critical']],
      'passing',
      'updated',
      refused(400, "Invalid check status: 'odd'"),
    ],
  },
  {
    name: 'a TTL that runs out turns critical and says so',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'exp', Check: { CheckID: 'exp', TTL: '300ms' } });
      await w.put('/v1/agent/check/pass/exp?note=alive');
      const before = await statuses(w, 'exp');
      await until('expiry', async () => (await statuses(w, 'exp'))[0] === 'critical');
      return [before, at((await w.get('/v1/health/checks/exp')).json, 0, 'Output')];
    },
    expect: [['passing'], 'TTL expired (last output before timeout follows): alive'],
  },
  {
    name: 'an HTTP check follows its server: passing, warning on 429, critical on 500, critical when refused',
    run: async (w) => {
      w.app.status = 200;
      const check = { CheckID: 'http', HTTP: `${w.app.url}/healthz`, Interval: '1s', Timeout: '500ms' };
      await w.put('/v1/agent/service/register', { Name: 'http', Check: check });
      const now = async (): Promise<unknown> => (await statuses(w, 'http'))[0];
      const first = await now();
      await until('passing', async () => (await now()) === 'passing');
      const output = String(at((await w.get('/v1/health/checks/http')).json, 0, 'Output'));
      w.app.status = 429;
      await until('warning', async () => (await now()) === 'warning');
      w.app.status = 500;
      await until('critical', async () => (await now()) === 'critical');
      const type = at((await w.get('/v1/health/checks/http')).json, 0, 'Type');
      await w.put('/v1/agent/service/deregister/http');
      return [first, output.replace(w.app.url, 'URL'), type];
    },
    expect: ['critical', 'HTTP GET URL/healthz: 200 OK Output: app says 200', 'http'],
  },
  {
    name: 'a TCP check: passing while somebody listens',
    run: async (w) => {
      const check = { CheckID: 'tcp', TCP: `127.0.0.1:${w.app.port}`, Interval: '1s' };
      await w.put('/v1/agent/service/register', { Name: 'tcp', Check: check });
      await until('passing', async () => (await statuses(w, 'tcp'))[0] === 'passing');
      const output = String(at((await w.get('/v1/health/checks/tcp')).json, 0, 'Output'));
      await w.put('/v1/agent/service/deregister/tcp');
      return output.replace(String(w.app.port), 'PORT');
    },
    expect: 'TCP connect 127.0.0.1:PORT: Success',
  },
  {
    name: 'checks of a node precede those of the service, each by id; instances come by id',
    run: async (w) => {
      for (const id of ['ord-2', 'ord-1']) {
        await w.put('/v1/agent/service/register', {
          Name: 'ord',
          ID: id,
          Checks: [
            { CheckID: `${id}-b`, TTL: '60s' },
            { CheckID: `${id}-a`, TTL: '60s' },
          ],
        });
      }
      const { json } = await w.get('/v1/health/service/ord');
      return list(json).map((entry) => [at(entry, 'Service', 'ID'), pluck(at(entry, 'Checks'), 'CheckID')]);
    },
    expect: [
      ['ord-1', ['serfHealth', 'ord-1-a', 'ord-1-b']],
      ['ord-2', ['serfHealth', 'ord-2-a', 'ord-2-b']],
    ],
  },
  {
    name: 'passing leaves out warnings, tags must all be there, names ignore case',
    run: async (w) => {
      await w.put('/v1/agent/service/register', {
        Name: 'Flt',
        ID: 'f1',
        Tags: ['a', 'b'],
        Check: { TTL: '60s', Status: 'passing' },
      });
      await w.put('/v1/agent/service/register', {
        Name: 'Flt',
        ID: 'f2',
        Tags: ['a'],
        Check: { TTL: '60s', Status: 'warning' },
      });
      const ids = async (query: string): Promise<unknown[]> =>
        pluck((await w.get(`/v1/health/service/${query}`)).json, 'Service', 'ID');
      return [
        await ids('Flt'),
        await ids('flt'),
        await ids('Flt?passing'),
        await ids('Flt?passing=1'),
        await ids('Flt?passing=0'),
        await ids('Flt?tag=a&tag=b'),
        await ids('Flt?tag=none'),
      ];
    },
    expect: [['f1', 'f2'], ['f1', 'f2'], ['f1'], ['f1'], ['f1', 'f2'], ['f1'], []],
  },
  {
    name: 'maintenance of a service is a critical check with the reason in its notes',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'mnt', ID: 'mnt-1', Check: { TTL: '60s', Status: 'passing' } });
      const on = await w.put('/v1/agent/service/maintenance/mnt-1?enable=true&reason=upgrade%20now');
      const check = at((await w.get('/v1/agent/checks')).json, '_service_maintenance:mnt-1');
      const whileOn = list((await w.get('/v1/health/service/mnt?passing')).json).length;
      const off = await w.put('/v1/agent/service/maintenance/mnt-1?enable=false');
      const afterwards = list((await w.get('/v1/health/service/mnt?passing')).json).length;
      return [
        on.status,
        ['Name', 'Status', 'Notes', 'Type', 'ServiceName'].map((key) => at(check, key)),
        whileOn,
        off.status,
        afterwards,
      ];
    },
    expect: [200, ['Service Maintenance Mode', 'critical', 'upgrade now', 'maintenance', 'mnt'], 0, 200, 1],
  },
  {
    name: 'maintenance without a reason says so; bad calls are refused',
    run: async (w) => {
      await w.put('/v1/agent/service/maintenance/mnt-1?enable=true');
      const notes = at((await w.get('/v1/agent/checks')).json, '_service_maintenance:mnt-1', 'Notes');
      await w.put('/v1/agent/service/maintenance/mnt-1?enable=false');
      const bad = ['mnt-1', 'mnt-1?enable=odd', 'none?enable=true', '?enable=true'];
      return [
        notes,
        ...(await Promise.all(bad.map(async (path) => refusal(await w.put(`/v1/agent/service/maintenance/${path}`))))),
      ];
    },
    expect: [
      'Maintenance mode is enabled for this service, but no reason was provided. This is a default message.',
      refused(400, 'Missing value for enable'),
      refused(400, 'Invalid value for enable: "odd"'),
      refused(404, 'No service registered with ID "none"'),
      refused(400, 'Missing service ID'),
    ],
  },
  {
    name: 'maintenance of the node reaches every service and every index',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/mnt');
      await w.put('/v1/agent/maintenance?enable=true&reason=all');
      const on = await w.get('/v1/health/service/mnt');
      await w.put('/v1/agent/maintenance?enable=false');
      const ids = pluck(at(on.json, 0, 'Checks'), 'CheckID');
      return [
        on.index > index,
        ids.includes('_node_maintenance'),
        list((await w.get('/v1/health/service/mnt?passing')).json).length,
      ];
    },
    expect: [true, true, 1],
  },
  {
    name: 'checks are registered and deregistered on their own',
    run: async (w) => {
      const bad = [{}, { Name: 'c' }, { Name: 'c', TTL: '5s', ServiceID: 'none' }];
      const refusals = await Promise.all(
        bad.map(async (body) => refusal(await w.put('/v1/agent/check/register', body))),
      );
      const on = await w.put('/v1/agent/check/register', {
        Name: 'solo',
        TTL: '60s',
        ServiceID: 'mnt-1',
        Notes: 'mine',
      });
      const check = at((await w.get('/v1/agent/checks')).json, 'solo');
      const off = await w.put('/v1/agent/check/deregister/solo');
      const gone = at((await w.get('/v1/agent/checks')).json, 'solo');
      const never = await w.put('/v1/agent/check/deregister/never');
      return [refusals, on.status, shape(check), at(check, 'ServiceName'), off.status, gone, never.status];
    },
  },
  {
    name: 'health/state and health/node list checks',
    run: async (w) => {
      const ids = async (path: string): Promise<unknown[]> =>
        pluck((await w.get(`/v1/health/${path}`)).json, 'CheckID');
      const [any, node, warning] = [await ids('state/any'), await ids(`node/${w.node}`), await ids('state/warning')];
      return [
        any.includes('serfHealth'),
        node.includes('serfHealth'),
        warning.includes('service:f2'),
        await ids('state/odd'),
      ];
    },
    expect: [true, true, true, []],
  },
];
