// S24: whatever throws in a callback of the agent, the process either serves on or says so, drains and ends with 1, for its supervisor
// to start it again. It never hangs on half alive, and never goes without a word.

import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import t from 'tap';
import { startOrigin } from '../support/origin.ts';
import { freePorts, startNode, temporaryFolder, until } from '../support/processes.ts';

/** Events of sockets and listeners, the write of an answer, and every kind of timer. */
const PLACES = [
  'server.connection',
  'server.request',
  'socket.connect',
  'socket.end',
  'socket.close',
  'socket.finish',
  'write',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
];

/** One GET on a connection of its own; 0 when there was no answer. */
function get(port: number): Promise<number> {
  return new Promise((resolve) => {
    const agent = new Agent({ keepAlive: false });
    const call = request({ port, agent, headers: { host: 'a' }, timeout: 2_000 }, (response) => {
      response.resume().on('close', () => resolve(response.statusCode ?? 0));
      response.on('error', () => undefined); // `close` follows
    });
    call.on('error', () => resolve(0));
    call.on('timeout', () => call.destroy());
    call.end();
  });
}

/** Places where the planted throw came about. */
const thrown: string[] = [];

for (const place of PLACES) {
  t.test(`a throw in ${place}`, { timeout: 60_000 }, async (t) => {
    const origin = await startOrigin(t);
    const [outbound = 0, admin = 0] = await freePorts(2);
    const folder = temporaryFolder(t);
    const config = {
      service: { name: 'web', register: false },
      listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
      upstreams: [{ service: 'a', endpoints: [`127.0.0.1:${origin.port}`] }],
      consul: false,
      controlPlane: false,
      stateDir: `${folder}/state`,
    };
    writeFileSync(`${folder}/agent.json`, JSON.stringify(config));
    const args = [
      '--import',
      './test/support/throw-once.mjs',
      'cli/main.ts',
      'agent',
      '--config',
      `${folder}/agent.json`,
    ];
    const agent = startNode(t, args, { THROW_IN: place });
    await agent.waitFor('agent started');
    t.equal(await get(outbound), 200);
    agent.child.kill('SIGWINCH');
    // Traffic brings every callback about; a place that none of it comes by is no fault of the agent's.
    let isServing = true;
    const hasEnded = () => agent.child.exitCode !== null || agent.child.signalCode !== null;
    for (let request = 0; request < 20 && !hasEnded(); request++) isServing = (await get(outbound)) === 200;
    const hasSaid = agent.output().includes(`planted in ${place}`);
    if (hasSaid) thrown.push(place);
    if (hasSaid && agent.output().includes('unexpected error, stopping')) {
      await until(hasEnded, 40_000, () => 'it ends');
      t.equal(agent.child.exitCode, 1, agent.output());
      t.match(agent.output(), /agent stopped/, 'it drained');
      t.comment(`${place}: said, drained, ended`);
      return;
    }
    t.notOk(hasEnded(), agent.output());
    t.ok(isServing, 'it serves on');
    t.comment(`${place}: ${hasSaid ? 'said, and serves on' : 'serves on'}`);
  });
}

t.test('most of the places were come by', async (t) => {
  t.ok(thrown.length >= 6, thrown.join(', '));
});
