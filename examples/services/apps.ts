// Starts one sample service (flags) or several in one process (--apps JSON), and a control port that breaks them:
//   node examples/services/apps.ts --name orders --id orders-1 --listen 127.0.0.1:3000 --next payments --through 127.0.0.1:15001
//   curl -X POST http://127.0.0.1:3999/orders-1/slow          (with --control 127.0.0.1:3999)

import { createServer, type Server } from 'node:http';
import { parseArgs } from 'node:util';
import { MODES, SampleService, type ServiceOptions } from './service.ts';

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'web' },
    id: { type: 'string' },
    listen: { type: 'string', default: '127.0.0.1:3000' },
    next: { type: 'string' },
    through: { type: 'string', default: '127.0.0.1:15001' },
    apps: { type: 'string' },
    control: { type: 'string' },
  },
});

const services = readOptions().map((options) => new SampleService(options));
await Promise.all(services.map((service) => service.listen()));
const control = values.control === undefined ? null : await listenControl(values.control);
// A parent that started us over IPC is gone as soon as the channel closes; nothing may outlive it.
if (process.send !== undefined) process.once('disconnect', () => process.exit(0));
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
console.log(`serving ${services.map(({ id }) => id).join(', ')}`);

function readOptions(): ServiceOptions[] {
  // Written by the process that starts us, not by a person: its shape is ServiceOptions[].
  if (values.apps !== undefined) return JSON.parse(values.apps) as ServiceOptions[];
  const { host, port } = parseAddress(values.listen);
  const next = values.next === undefined ? null : { service: values.next, ...parseAddress(values.through) };
  return [{ name: values.name, id: values.id ?? values.name, host, port, next }];
}

function parseAddress(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  if (colon <= 0 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    console.error(`expected HOST:PORT, got '${text}'`);
    process.exit(2);
  }
  return { host: text.slice(0, colon), port };
}

/** `POST /ID/MODE` changes one service; `GET /` says how each of them behaves. */
async function listenControl(address: string): Promise<Server> {
  const server = createServer((incoming, response) => {
    const [, id, word] = (incoming.url ?? '/').split('/');
    const service = services.find((candidate) => candidate.id === id);
    const mode = MODES.find((known) => known === word);
    if (incoming.method === 'GET') {
      response.end(`${services.map((each) => `${each.id} ${each.mode}\n`).join('')}`);
    } else if (service === undefined || mode === undefined) {
      response
        .writeHead(404)
        .end(`POST /ID/MODE; ids: ${services.map((each) => each.id).join(' ')}; modes: ${MODES.join(' ')}\n`);
    } else {
      service.become(mode).then(
        () => response.end(`${service.id} ${mode}\n`),
        (error: Error) => response.writeHead(500).end(`${error.message}\n`),
      );
    }
  });
  const { host, port } = parseAddress(address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
  return server;
}

function stop(): void {
  control?.close();
  control?.closeAllConnections();
  void Promise.all(services.map((service) => service.close())).then(() => {
    if (process.connected) process.disconnect?.();
  });
}
