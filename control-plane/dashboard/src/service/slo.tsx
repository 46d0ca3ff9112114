// The error budget of one service: availability, what is left, how fast it burns, and what spent it.

import { useEffect, useState } from 'preact/hooks';
import { isServiceName } from '#contract/names.ts';
import type { SloView } from '../../../core/slo/book.ts';
import type { Composed } from '../../../core/slo/composed.ts';
import { count, duration, share } from '../format.ts';
import { usePolled } from '../live/use-polled.ts';
import { Empty, Figure, Pill } from '../parts/pieces.tsx';

const EVERY_MS = 5_000;
const CAUSES: Readonly<Record<keyof SloView['accounts'], string>> = {
  instance: 'some of its endpoints failed',
  service: 'most or all of its endpoints failed, or there was none',
  path: 'one caller failed where others did not',
  caller: 'the agent of the caller was going away, stood still or had no room',
  policy: 'denied, limited, shed or injected',
  client: 'the client left before the answer',
};

export function SloPanel({ service }: { readonly service: string }) {
  const isCounted = useIsCounted(service);
  const path = isCounted ? `/v1/slo/${encodeURIComponent(service)}` : null;
  const { value, error } = usePolled<SloView & { readonly composed: Composed }>(path, EVERY_MS);
  return (
    <section class="card" id="slo">
      <header class="card-head">
        <h2>Error budget</h2>
        {value !== null && (
          <span class="muted">
            objective {Number((value.objective * 100).toFixed(4))} % over {duration(value.windowMs)}
          </span>
        )}
      </header>
      {value === null ? (
        <Empty>{error ?? 'No request was counted yet; the budget is whole.'}</Empty>
      ) : (
        <Budget slo={value} />
      )}
    </section>
  );
}

/**
 * Whether there is a budget to ask for. Found in the list, because a browser notes every 404 as an error of the page: the list of
 * one that begins right before the service.
 */
function useIsCounted(service: string): boolean {
  const [isCounted, setCounted] = useState(false);
  const code = service.charCodeAt(service.length - 1);
  const before = `${service.slice(0, -1)}${String.fromCharCode(code - 1)}~`;
  const path = isCounted || !isServiceName(service) ? null : `/v1/slo?limit=1&cursor=${encodeURIComponent(before)}`;
  const { value } = usePolled<{ readonly slos: readonly { readonly service: string }[] }>(path, EVERY_MS);
  const isThere = value?.slos[0]?.service === service;
  useEffect(() => {
    if (isThere) setCounted(true);
  }, [isThere]);
  return isCounted;
}

function Budget({ slo }: { readonly slo: SloView & { readonly composed: Composed } }) {
  const valid = slo.good + slo.bad;
  const { left } = slo.budget;
  const health = left <= 0 ? 'bad' : left < 0.25 ? 'warn' : 'good';
  return (
    <>
      <dl class="figures flat">
        <Figure name="Availability" value={share(valid === 0 ? null : slo.good / valid)} />
        <Figure name="Budget left" value={`${Math.floor(left * 100)} %`} health={health} />
        <Figure name="Bad events" value={`${count(slo.bad)} of ${count(valid)}`} />
        <Figure
          name="Parts promise"
          value={share(slo.composed.path)}
          note="endpoints in parallel, called services in series"
        />
      </dl>
      <meter class={health} min={0} max={1} value={Math.max(0, Math.min(1, left))} aria-label="Budget left" />
      <Burns slo={slo} />
      <Causes slo={slo} />
    </>
  );
}

function Burns({ slo }: { readonly slo: SloView }) {
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Burn, times the budget</th>
            <th scope="col" class="number">
              long
            </th>
            <th scope="col" class="number">
              short
            </th>
            <th scope="col" class="number">
              fires at
            </th>
            <th scope="col">State</th>
          </tr>
        </thead>
        <tbody>
          {slo.burns.map((burn) => (
            <tr key={burn.name}>
              <th scope="row" class="name">
                {duration(burn.longMs)} and {duration(burn.shortMs)}
              </th>
              <td class={`number ${burn.longBurn >= burn.threshold ? 'bad' : ''}`}>{burn.longBurn.toFixed(1)}</td>
              <td class={`number ${burn.shortBurn >= burn.threshold ? 'bad' : ''}`}>{burn.shortBurn.toFixed(1)}</td>
              <td class="number muted">{burn.threshold}</td>
              <td>
                {burn.firingSinceEpochMs === null ? (
                  <span class="muted">quiet</span>
                ) : (
                  <Pill kind="bad">{burn.severity}</Pill>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Every bad event is booked once, so the parts add up. */
function Causes({ slo }: { readonly slo: SloView }) {
  const causes = (Object.keys(CAUSES) as (keyof typeof CAUSES)[]).filter((cause) => slo.accounts[cause] > 0);
  if (causes.length === 0) return <Empty>Nothing was spent: no request failed in this window.</Empty>;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Spent by</th>
            <th scope="col" class="number">
              Events
            </th>
            <th scope="col">Why</th>
          </tr>
        </thead>
        <tbody>
          {causes
            .sort((a, b) => slo.accounts[b] - slo.accounts[a])
            .map((cause) => (
              <tr key={cause}>
                <th scope="row" class="name">
                  {cause}
                </th>
                <td class="number">{count(slo.accounts[cause])}</td>
                <td class="muted">{CAUSES[cause]}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </div>
  );
}
