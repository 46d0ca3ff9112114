// The families that have one set of series for each edge, as text. An edge's lines are kept until it counts again, so a
// scrape costs what changed since the former one. Reads counters, writes nothing but its cache.

import type { EdgeCounters } from './edge.ts';
import { formatLabels, formatLine, header, type Pacer } from './exposition.ts';
import type { Family } from './families.ts';
import { BUCKET_BOUNDS_SECONDS } from './histogram.ts';

const REQUESTS: Omit<Family, 'samples'> = {
  name: 'outrigger_requests_total',
  help: 'Requests that ended, by edge, class of the status sent and result (ok, or why the agent answered itself).',
  type: 'counter',
};
const DURATION: Omit<Family, 'samples'> = {
  name: 'outrigger_request_duration_seconds',
  help: 'Time from the request head to the end of the response.',
  type: 'histogram',
};
const IN_FLIGHT: Omit<Family, 'samples'> = {
  name: 'outrigger_requests_in_flight',
  help: 'Requests begun and not ended.',
  type: 'gauge',
};
const BOUND_LABELS = [...BUCKET_BOUNDS_SECONDS.map(String), '+Inf'].map((le) => formatLabels({ le }));

interface Lines {
  readonly labels: string;
  /** What the lines were written from: no request begins or ends without changing one of the two. */
  count: number;
  inFlight: number;
  requests: string;
  duration: string;
  gauge: string;
  series: number;
}

export class EdgeText {
  readonly #kept = new WeakMap<EdgeCounters, Lines>();

  /** All three families with their headers, in flat pieces. */
  async render(
    edges: readonly EdgeCounters[],
    pacer: Pacer,
  ): Promise<{ readonly parts: string[]; readonly series: number }> {
    const requests = [header(REQUESTS)];
    const duration = ['\n', header(DURATION)];
    const gauge = ['\n', header(IN_FLIGHT)];
    let series = 0;
    for (const edge of edges) {
      const lines = this.#linesOf(edge);
      requests.push(lines.requests);
      duration.push(lines.duration);
      gauge.push(lines.gauge);
      series += lines.series;
      if (pacer.isDue) await pacer.rest();
    }
    return { parts: requests.concat(duration, gauge, '\n'), series };
  }

  #linesOf(edge: EdgeCounters): Lines {
    const kept = this.#kept.get(edge);
    if (kept !== undefined && kept.count === edge.latency.count && kept.inFlight === edge.inFlight) return kept;
    const { direction, source, destination } = edge;
    const lines = write(edge, kept?.labels ?? formatLabels({ direction, source, destination }));
    this.#kept.set(edge, lines);
    return lines;
  }
}

function write(edge: EdgeCounters, labels: string): Lines {
  const { latency, inFlight } = edge;
  const counts = edge.requests().map(({ result, codeClass, count }) => {
    return formatLine(REQUESTS.name, `code_class="${codeClass}",result="${result}",${labels}`, count);
  });
  const duration = latency.cumulative().map((value, index) => {
    return formatLine(`${DURATION.name}_bucket`, `${BOUND_LABELS[index] ?? ''},${labels}`, value);
  });
  duration.push(formatLine(`${DURATION.name}_sum`, labels, latency.sumMs / 1000));
  duration.push(formatLine(`${DURATION.name}_count`, labels, latency.count));
  return {
    labels,
    count: latency.count,
    inFlight,
    // Joined, not added up: an added-up text is put together at its first use, which would be one long moment for all.
    requests: counts.join(''),
    duration: duration.join(''),
    gauge: formatLine(IN_FLIGHT.name, labels, inFlight),
    series: counts.length + duration.length + 1,
  };
}
