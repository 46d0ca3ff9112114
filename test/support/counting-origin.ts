// An origin in a process of its own that notes the id of every POST it executes, and ends in order on SIGTERM.
//
//   node test/support/counting-origin.ts PORT FILE

import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [port = '0', file = ''] = process.argv.slice(2);
let isStopping = false;
const server = createServer((request, response) => {
  if (isStopping) response.setHeader('connection', 'close');
  request.resume();
  request.on('end', () => {
    if (request.method === 'POST') appendFileSync(file, `${request.url}\n`);
    // A few are slow, so that a stop always finds requests in flight.
    setTimeout(() => response.end('ok'), request.url?.endsWith('0') ? 50 : 0);
  });
});
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
process.once('SIGTERM', () => {
  isStopping = true;
  server.close(() => process.exit(0));
});
