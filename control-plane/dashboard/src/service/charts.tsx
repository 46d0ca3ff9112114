// Rate, errors and latency of one service since the page was opened.

import { useApp } from '../app.ts';
import { latency, rate } from '../format.ts';
import { Chart } from '../parts/chart.tsx';

/** Least span of the axis: a page that was just opened does not stretch two samples over its width. */
const LEAST_SPAN_S = 60;

export function ServiceCharts({ service }: { readonly service: string }) {
  const { live } = useApp();
  live.samples.value; // draws anew with each sample
  const samples = live.history.of(service);
  const toS = (samples.at(-1)?.atEpochMs ?? live.now.value) / 1000;
  const fromS = Math.min((samples[0]?.atEpochMs ?? live.now.value) / 1000, toS - LEAST_SPAN_S);
  const times = samples.map(({ atEpochMs }) => atEpochMs / 1000);
  return (
    <section class="card charts" aria-label="Over time, since this page was opened">
      <Chart
        title="Requests /s"
        height={190}
        lines={[
          { name: 'all', colour: 'calm', isFilled: true },
          { name: 'failed', colour: 'bad', isFilled: true },
          { name: 'retries', colour: 'warn', isDashed: true },
        ]}
        data={[
          times,
          samples.map((sample) => sample.requestsPerSecond),
          samples.map((sample) => sample.failuresPerSecond),
          samples.map((sample) => sample.retriesPerSecond),
        ]}
        format={rate}
        fromS={fromS}
        toS={toS}
      />
      <Chart
        title="Latency"
        height={190}
        lines={[
          { name: 'p50', colour: 'good' },
          { name: 'p95', colour: 'warn' },
          { name: 'p99', colour: 'bad' },
        ]}
        data={[
          times,
          samples.map((sample) => sample.p50Ms),
          samples.map((sample) => sample.p95Ms),
          samples.map((sample) => sample.p99Ms),
        ]}
        format={latency}
        fromS={fromS}
        toS={toS}
      />
    </section>
  );
}
