// Fuzz against llhttp (node:http): whatever our parser accepts, llhttp must read as the same message. Ours may refuse more.
// The seed is fixed; set OUTRIGGER_FUZZ_SEED to look elsewhere.

import { createServer, METHODS } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import t from 'tap';
import { judge } from '../../../support/judge-request.ts';
import { seededRandom } from '../../../support/seeded-random.ts';

const ROUNDS = 4000;
const SEED = Number(process.env.OUTRIGGER_FUZZ_SEED ?? 1);

const TEMPLATES = [
  'GET /path?q=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n',
  'PUT /p HTTP/1.1\r\nHost: a.b:80\r\nConnection: close, x\r\nContent-Length: 0\r\n\r\n',
];
const PIECES = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  '\0',
  ':',
  ',',
  ';',
  '0',
  '5',
  'a',
  'F',
  '\x0b',
  '\x80',
  '\xff',
  '-',
  '+',
  '_',
  'chunked',
  '\r\n\r\n',
];
const LINES = [
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Content-Length: 05\r\n',
  'Host: b\r\n',
  ' folded\r\n',
  'X : y\r\n',
];

function mutate(random: () => number): string {
  const draw = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T; // lists are never empty
  let text = draw(TEMPLATES);
  for (let count = Math.floor(random() * 3); count >= 0; count -= 1) {
    const at = Math.floor(random() * text.length);
    const kind = random();
    if (kind < 0.3) text = text.slice(0, at) + draw(PIECES) + text.slice(at);
    else if (kind < 0.55) text = text.slice(0, at) + draw(PIECES) + text.slice(at + 1);
    else if (kind < 0.75) text = text.slice(0, at) + text.slice(at + 1 + Math.floor(random() * 3));
    else text = text.replace('Host', () => `${draw(LINES)}Host`);
  }
  return text;
}

t.test('what is accepted here means the same to llhttp', async (t) => {
  const random = seededRandom(SEED);
  const accepted: { input: string; expected: string }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const input = mutate(random);
    const verdict = judge([Buffer.from(input, 'latin1')]);
    // llhttp has a closed list of methods; ours is any token.
    if (verdict.kind !== 'message' || !METHODS.includes(verdict.head.method)) continue;
    const whole = input.slice(0, input.length - verdict.rest.length);
    accepted.push({ input: whole, expected: `${verdict.head.method} ${JSON.stringify(verdict.body)}` });
  }
  t.ok(accepted.length > ROUNDS / 20, `${accepted.length} of ${ROUNDS} were accepted (seed ${SEED})`);

  const server = createServer({ requireHostHeader: false }, (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      response.setHeader('connection', 'close');
      response.end(`${request.method} ${JSON.stringify(Buffer.concat(pieces).toString('latin1'))}`, 'latin1');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo; // listening on TCP
  const ask = (input: string) =>
    new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () => socket.write(input, 'latin1'));
      const timer = setTimeout(() => socket.destroy(), 1000);
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        clearTimeout(timer);
        resolve(text);
      });
    });
  for (const { input, expected } of accepted) {
    const answer = await ask(input);
    t.ok(
      answer.includes(expected),
      `${JSON.stringify(input)} is ${expected}, llhttp says ${JSON.stringify(answer.slice(0, 60))}`,
    );
  }
});
