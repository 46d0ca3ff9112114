// The policy in force for calls of one caller, with the document and revision that each value comes from.

import { useState } from 'preact/hooks';
import { isServiceName } from '#contract/names.ts';
import { useApp } from '../app.ts';
import { usePolled } from '../live/use-polled.ts';
import { Empty } from '../parts/pieces.tsx';
import { formatRoute } from '../route.ts';
import { type EffectiveRow, effectiveRows, type Origin } from './effective-rows.ts';

const EVERY_MS = 10_000;

interface Effective {
  readonly version: number;
  readonly policy: unknown;
  readonly rules: readonly {
    readonly name: string;
    readonly backends: readonly { readonly service: string; readonly weight: number }[];
  }[];
  readonly permission: unknown;
}

export function EffectivePolicy({
  service,
  callers,
}: {
  readonly service: string;
  readonly callers: readonly string[];
}) {
  const { live } = useApp();
  const known = callers.length > 0 ? callers : [...live.mesh.value.services.keys()].filter((name) => name !== service);
  const [chosen, setChosen] = useState<string | null>(null);
  const [isAll, setAll] = useState(false);
  const caller = chosen ?? known[0] ?? service;
  // A new version of the policies is asked for at once.
  const version = live.mesh.value.version;
  const isAskable = isServiceName(caller) && isServiceName(service);
  const path = !isAskable
    ? null
    : `/v1/effective/${encodeURIComponent(caller)}/${encodeURIComponent(service)}?at=${version}`;
  const { value, error } = usePolled<Effective>(path, EVERY_MS);
  const rows = effectiveRows(value?.policy);
  const said = rows.filter(({ from }) => from.kind !== 'default');
  return (
    <section class="card" id="effective">
      <header class="card-head">
        <h2>Policy in force</h2>
        <label>
          for calls from{' '}
          <select value={caller} onChange={(event) => setChosen(event.currentTarget.value)}>
            {[...new Set([caller, ...known])].map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          <input type="checkbox" checked={isAll} onChange={(event) => setAll(event.currentTarget.checked)} /> with
          defaults ({rows.length - said.length})
        </label>
        <span class="spring" />
        {value !== null && <span class="muted">version {value.version}</span>}
      </header>
      {value === null && (
        <Empty>{error ?? (isAskable ? 'Asking the control plane.' : 'No policy can be written for this name.')}</Empty>
      )}
      {value !== null && <RulesLine rules={value.rules} service={service} />}
      {value !== null && <Rows rows={isAll ? rows : said} />}
    </section>
  );
}

function RulesLine({ rules, service }: { readonly rules: Effective['rules']; readonly service: string }) {
  if (rules.length === 0) return null;
  return (
    <p class="line">
      {rules.map(({ name, backends }) => (
        <span key={name} class="rule">
          rule <a href={formatRoute({ screen: 'policies', subject: `HTTPRoute/${service}` })}>{name}</a>
          {backends.length > 0 && <> → {backends.map((one) => `${one.service} (${one.weight})`).join(', ')}</>}
        </span>
      ))}
    </p>
  );
}

function Rows({ rows }: { readonly rows: readonly EffectiveRow[] }) {
  if (rows.length === 0) return <Empty>No document says anything about these calls; every value is a default.</Empty>;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Field</th>
            <th scope="col">Value</th>
            <th scope="col">Said by</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ path, value, from }) => (
            <tr key={path} class={from.kind === 'default' ? 'is-default' : ''}>
              <th scope="row" class="name mono">
                {path}
              </th>
              <td class="mono">{value}</td>
              <td>
                <OriginLink from={from} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function OriginLink({ from }: { readonly from: Origin }) {
  if (from.kind === 'default' || from.name === undefined) return <span class="muted">default</span>;
  return (
    <>
      <a href={formatRoute({ screen: 'policies', subject: `${from.kind}/${from.name}` })}>
        {from.kind}/{from.name}
      </a>
      {typeof from.revision === 'number' && <span class="muted"> revision {from.revision}</span>}
    </>
  );
}
