// Small pieces that several screens show.

import type { ComponentChildren } from 'preact';
import type { EndpointState } from '#contract/frames.ts';
import { useApp } from '../app.ts';
import type { Health } from '../format.ts';
import { isOutside } from '../mesh/edges.ts';
import { formatRoute } from '../route.ts';

export const STATE_CLASS: Readonly<Record<EndpointState, string>> = {
  serving: 'good',
  probing: 'warn',
  ejected: 'bad',
  draining: 'calm',
};

export function Pill({ kind, children }: { readonly kind: string; readonly children: ComponentChildren }) {
  return <span class={`pill ${kind}`}>{children}</span>;
}

/** One number with its name. */
export function Figure(props: {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly health?: Health;
  readonly note?: string;
}) {
  return (
    <div class="figure" title={props.note}>
      <dt>{props.name}</dt>
      <dd class={props.health ?? ''}>{props.value}</dd>
    </div>
  );
}

export function ServiceLink({ service }: { readonly service: string }) {
  if (isOutside(service)) return <span title="callers that no agent stands beside">outside</span>;
  return <a href={formatRoute({ screen: 'service', subject: service })}>{service}</a>;
}

export function Empty({ children }: { readonly children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Filter text in the address, so that a filtered screen can be linked to. */
export function Filter({ label }: { readonly label: string }) {
  const app = useApp();
  const clear = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape') return;
    app.setQuery({ q: '' });
    (event.currentTarget as HTMLElement).blur();
  };
  return (
    <label class="filter">
      <span class="hidden">{label}</span>
      <input
        id="filter"
        type="search"
        placeholder={`${label}  /`}
        autocomplete="off"
        spellcheck={false}
        value={app.route.value.query.q ?? ''}
        onInput={(event) => app.setQuery({ q: event.currentTarget.value })}
        onKeyDown={clear}
      />
    </label>
  );
}

/** @param filter lower case; empty matches everything */
export function matches(filter: string, ...words: readonly (string | null)[]): boolean {
  return filter === '' || words.some((word) => (word ?? '').toLowerCase().includes(filter));
}
