// The open-loop load: requests start when the schedule says so, whatever became of those before, and a latency counts from the
// scheduled instant. So a proxy that stalls is charged for everything that had to wait (no coordinated omission).
// Run pinned, as its own process: `node open-loop.ts PORT RATE SECONDS HOST PATH`; prints one line of JSON.

import { connect, type Socket } from 'node:net';

export interface OpenLoopResult {
  readonly rate: number;
  readonly answered: number;
  readonly errors: number;
  /** Scheduled but unanswered when the time was over and a second had passed. */
  readonly unanswered: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

const CONNECTIONS = 64;
const GRACE_MS = 1000;
/** At the beginning, sent and awaited but not counted: code that is still being compiled, on either side. */
const WARM_MS = 1000;

class Channel {
  readonly socket: Socket;
  dueAt = 0;
  missing = 0;
  isBusy = false;

  constructor(port: number, onAnswer: (channel: Channel, status: string) => void, onLost: () => void) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.socket.on('data', (bytes: Buffer) => {
      let size = bytes.length;
      if (this.missing === 0) {
        const text = bytes.toString('latin1');
        const headEnd = text.indexOf('\r\n\r\n');
        const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text.slice(0, headEnd))?.[1]);
        if (headEnd < 0 || Number.isNaN(length))
          throw new Error(`an answer without a whole head: ${text.slice(0, 200)}`);
        this.missing = headEnd + 4 + length;
        this.#status = text.slice(9, 12);
        size = bytes.length;
      }
      this.missing -= size;
      if (this.missing === 0) onAnswer(this, this.#status);
    });
    this.socket.on('error', onLost);
    this.socket.on('close', onLost);
  }

  #status = '';
}

async function main(port: number, rate: number, seconds: number, host: string, path: string): Promise<void> {
  const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const latencies: number[] = [];
  const waiting: number[] = [];
  const idle: Channel[] = [];
  let errors = 0;
  let done = 0;
  let countFrom = 0;
  let isOver = false;
  const send = (channel: Channel, dueAt: number) => {
    channel.dueAt = dueAt;
    channel.socket.write(request, 'latin1');
  };
  const answered = (channel: Channel, status: string) => {
    done += 1;
    if (channel.dueAt >= countFrom) latencies.push(performance.now() - channel.dueAt);
    if (status !== '200') errors += 1;
    const next = waiting.shift();
    if (next === undefined) idle.push(channel);
    else send(channel, next);
  };
  const lost = () => {
    if (!isOver) errors += 1;
  };
  for (let count = 0; count < CONNECTIONS; count += 1) {
    const channel = new Channel(port, answered, lost);
    await new Promise<void>((resolve) => channel.socket.once('connect', () => resolve()));
    idle.push(channel);
  }
  const startAt = performance.now();
  countFrom = startAt + WARM_MS;
  const durationMs = WARM_MS + seconds * 1000;
  const total = Math.floor((rate * durationMs) / 1000);
  let scheduled = 0;
  await new Promise<void>((resolve) => {
    // Spins: a timer would wake a millisecond late and send in bursts.
    const turn = () => {
      const now = performance.now();
      while (scheduled < total && startAt + (scheduled * 1000) / rate <= now) {
        const dueAt = startAt + (scheduled * 1000) / rate;
        scheduled += 1;
        const channel = idle.pop();
        if (channel === undefined) waiting.push(dueAt);
        else send(channel, dueAt);
      }
      const isLate = now > startAt + durationMs + GRACE_MS;
      if (isLate || (scheduled === total && done === total)) resolve();
      else setImmediate(turn);
    };
    turn();
  });
  isOver = true;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  const unanswered = total - done;
  const result = {
    rate,
    answered: latencies.length,
    errors,
    unanswered,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    p999Ms: at(0.999),
  };
  console.log(JSON.stringify(result satisfies OpenLoopResult));
  process.exit(0);
}

if (import.meta.main) {
  const [port, rate, seconds, host = '', path = ''] = process.argv.slice(2);
  await main(Number(port), Number(rate), Number(seconds), host, path);
}
