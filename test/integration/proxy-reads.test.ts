// Sockets of the data plane read into memory that they share: nothing of one connection may ever show on another, and nothing
// that still waits to be written may change.

import t, { type Test } from 'tap';
import { type OriginRequest, startOrigin } from '../support/origin.ts';
import { startRig } from '../support/proxy-rig.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';

/** More than the kernel takes for a reader that does not read. */
const BODY_BYTES = 16 * 1024 * 1024;
/** Too large to be copied into one string with a head, too small to make the agent pause at once. */
const PIECE_BYTES = 10_000;

/** Text in which every position is told from its neighbours, and every body from the others by its name. */
function bodyOf(name: string, bytes: number): string {
  const line = (at: number) => `${name} ${at.toString(16).padStart(8, '0')}\n`;
  const lines = Array.from({ length: Math.ceil(bytes / line(0).length) }, (_, at) => line(at));
  return lines.join('').slice(0, bytes);
}

function answerInPieces(body: string, { socket }: OriginRequest): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
  let at = 0;
  const next = () => {
    socket.write(body.slice(at, at + PIECE_BYTES), 'latin1');
    at += PIECE_BYTES;
    if (at < body.length) setImmediate(next);
  };
  next();
}

async function clients(t: Test, port: number, count: number): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: count }, () => rawClient(t, port)));
}

t.test('heads that come in halves on many connections at once stay apart', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) => {
    const path = /^GET (\S+)/.exec(text)?.[1] ?? '';
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`, 'latin1');
  });
  const rig = await startRig(t, { a: [origin.port] });
  const all = await clients(t, rig.port, 20);
  const halves = all.map((_, index) => {
    const text = `GET /client-${index} HTTP/1.1\r\nHost: a\r\nX-Of: ${index}\r\n\r\n`;
    const cut = 1 + ((index * 7) % (text.length - 2));
    return [text.slice(0, cut), text.slice(cut)] as const;
  });
  for (const [index, client] of all.entries()) client.write(halves[index]?.[0] ?? '');
  await new Promise<void>((resolve) => setTimeout(resolve, 30));
  for (const [index, client] of all.entries()) client.write(halves[index]?.[1] ?? '');
  for (const [index, client] of all.entries()) {
    t.match(await client.until((text) => text.endsWith(`/client-${index}`)), /^HTTP\/1.1 200 OK/);
  }
});

t.test('answers to slow readers arrive unchanged while others are served', async (t) => {
  const bodies = ['b0', 'b1'].map((name) => bodyOf(name, BODY_BYTES));
  const origin = await startOrigin(t, (request) => {
    answerInPieces(bodies[Number(/^GET \/(\d)/.exec(request.text)?.[1])] ?? '', request);
  });
  const rig = await startRig(t, { a: [origin.port] });
  const all = await clients(t, rig.port, 2);
  for (const [index, client] of all.entries()) {
    client.write(`GET /${index} HTTP/1.1\r\nHost: a\r\n\r\n`);
    client.socket.pause();
  }
  await new Promise<void>((resolve) => setTimeout(resolve, 500));
  for (const { socket } of all) socket.resume();
  for (const [index, client] of all.entries()) {
    const text = await client.until((received) => received.length > BODY_BYTES, 10_000);
    const isWhole = text.slice(text.indexOf('\r\n\r\n') + 4) === bodies[index];
    t.ok(isWhole, `answer ${index} is byte for byte the origin's`);
  }
});

t.test('bodies that come up at the same time stay apart', async (t) => {
  const size = 300_000;
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const all = await clients(t, rig.port, 4);
  const bodies = all.map((_, index) => bodyOf(`u${index}`, size));
  for (const client of all) client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  for (let at = 0; at < size; at += 20_000) {
    for (const [index, client] of all.entries()) client.write((bodies[index] ?? '').slice(at, at + 20_000));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  for (const client of all) t.match(await client.until((text) => text.endsWith('ok'), 5000), /^HTTP\/1.1 200 OK/);
  const arrived = origin.received.map((text) => text.slice(text.indexOf('\r\n\r\n') + 4)).sort();
  t.equal(arrived.join('') === bodies.join(''), true, 'each origin connection carried one body, whole');
});
