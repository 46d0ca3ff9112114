// What the address says after `#`: a screen, what it is about, and its filters. Pure; every screen can be linked to.

export const SCREENS = ['mesh', 'service', 'endpoints', 'timeline', 'policies'] as const;
export type Screen = (typeof SCREENS)[number];

export interface Route {
  readonly screen: Screen;
  /** `payments` of `#/service/payments`, `ServicePolicy/payments` of `#/policies/ServicePolicy/payments`; empty for none. */
  readonly subject: string;
  readonly query: Readonly<Record<string, string>>;
}

/** Anything that is no screen is the mesh: an old link must not lead to an empty page. */
export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [first = '', ...rest] = path.split('/');
  const screen = SCREENS.find((one) => one === first);
  if (screen === undefined) return { screen: 'mesh', subject: '', query: {} };
  const query = Object.fromEntries(new URLSearchParams(search));
  return { screen, subject: rest.map(decodePart).join('/'), query };
}

export function formatRoute({ screen, subject = '', query = {} }: { screen: Screen } & Partial<Route>): string {
  const path = [screen, ...(subject === '' ? [] : subject.split('/'))].map(encodeURIComponent).join('/');
  const said = Object.entries(query).filter(([, value]) => value !== '');
  return `#/${path}${said.length === 0 ? '' : `?${new URLSearchParams(said)}`}`;
}

function decodePart(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // half of an escape: shown as it was typed
  }
}
