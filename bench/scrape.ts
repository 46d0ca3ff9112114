// What a scrape of 10,000 series costs the traffic: event-loop delay of a process that serves small requests while its
// metrics are scraped each second with every series changed in between, against the same without scrapes.
// `node bench/scrape.ts [seconds]`.

import { Agent, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Edge, Metrics } from '../agent/telemetry/metrics.ts';

const SECONDS = Number(process.argv[2] ?? 4);
const ROUNDS = 5;
const RATE_PER_SECOND = 500;
const EDGES = 400;

const metrics = new Metrics({ maxEdges: EDGES, maxSeries: 13_000 });
const edges: Edge[] = Array.from({ length: EDGES }, (_, index) => metrics.edge('outbound', 'web', `service-${index}`));

/** One count in every series that an edge commonly has. */
function dirty(): void {
  for (const edge of edges) {
    for (const status of [200, 201, 302, 404, 503]) {
      edge.begin();
      edge.attempt('response');
      edge.end(status === 503 ? 'upstream_timeout' : 'ok', status, Math.random() * 50);
    }
  }
}

const server = createServer((_request, response) => response.end('ok'));
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as AddressInfo; // listening on TCP

const agent = new Agent({ keepAlive: true });

/** Latencies of requests sent at a fixed rate, ms, from their planned time on: a late loop cannot hide. */
async function measure(isScraped: boolean): Promise<number[]> {
  const latencies: number[] = [];
  const started = performance.now();
  let scrapeAt = started + 500;
  let bytes = 0;
  let renderMs = 0;
  let scrapes = 0;
  const pending: Promise<void>[] = [];
  for (let sent = 0; sent < RATE_PER_SECOND * SECONDS; sent += 1) {
    const planned = started + (sent * 1000) / RATE_PER_SECOND;
    const wait = planned - performance.now();
    if (wait > 0) await sleep(wait);
    if (isScraped && performance.now() >= scrapeAt) {
      scrapeAt += 1001;
      dirty();
      const from = performance.now();
      pending.push(
        metrics.render().then((text) => {
          renderMs += performance.now() - from;
          bytes = Buffer.byteLength(text);
          scrapes += 1;
        }),
      );
    }
    pending.push(
      new Promise((resolve, reject) => {
        get({ port, host: '127.0.0.1', agent }, (response) => {
          response.resume().on('end', () => {
            latencies.push(performance.now() - planned);
            resolve();
          });
        }).on('error', reject);
      }),
    );
  }
  await Promise.all(pending);
  if (isScraped) console.log(`${scrapes} scrapes of ${bytes} bytes, ${(renderMs / scrapes).toFixed(1)} ms each`);
  return latencies.sort((a, b) => a - b);
}

const quantile = (sorted: readonly number[], share: number) => sorted[Math.floor(sorted.length * share)] ?? 0;
dirty();
const series = (await metrics.render()).split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
console.log(`${series} series, ${RATE_PER_SECOND} requests/s, ${SECONDS} s each`);
// On a machine with other work the quietest round of each kind says most.
const best = { quiet: Number.POSITIVE_INFINITY, scraped: Number.POSITIVE_INFINITY };
for (let round = 0; round < ROUNDS; round += 1) {
  for (const kind of ['quiet', 'scraped'] as const) {
    const sorted = await measure(kind === 'scraped');
    best[kind] = Math.min(best[kind], quantile(sorted, 0.99));
    const figures = [0.5, 0.99, 0.999].map((share) => `p${share * 100} ${quantile(sorted, share).toFixed(2)}`);
    console.log(`${kind.padEnd(7)}  ${figures.join('  ')}  max ${quantile(sorted, 0.99999).toFixed(2)} ms`);
  }
}
const raised = (best.scraped - best.quiet).toFixed(2);
console.log(
  `best p99: quiet ${best.quiet.toFixed(2)} ms, scraped ${best.scraped.toFixed(2)} ms, raised by ${raised} ms`,
);
const text = await sleep(1001).then(() => metrics.render());
console.log(/^outrigger_scrape_slice_seconds .*$/m.exec(text)?.[0] ?? '');
agent.destroy();
server.close();
metrics.close();
