// What every screen can reach: the live mesh, the API, where we are, and how the page looks.

import { type Signal, signal } from '@preact/signals';
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { Api } from './live/api.ts';
import { LiveMesh } from './live/live-mesh.ts';
import { formatRoute, parseRoute, type Route, type Screen } from './route.ts';

const THEME_KEY = 'outrigger-theme';
export type Theme = 'auto' | 'light' | 'dark';

export class App {
  readonly api = new Api();
  readonly live = new LiveMesh(this.api);
  readonly route: Signal<Route> = signal(parseRoute(location.hash));
  readonly theme: Signal<Theme> = signal<Theme>(readTheme());
  readonly isHelpOpen = signal(false);

  constructor() {
    addEventListener('hashchange', () => {
      this.route.value = parseRoute(location.hash);
    });
    this.#showTheme();
  }

  go(screen: Screen, subject = ''): void {
    location.hash = formatRoute({ screen, subject });
  }

  /** Changes filters without a new entry in the browser's history. */
  setQuery(changes: Readonly<Record<string, string>>): void {
    const { screen, subject, query } = this.route.value;
    history.replaceState(null, '', formatRoute({ screen, subject, query: { ...query, ...changes } }));
    this.route.value = parseRoute(location.hash);
  }

  /** Auto, then the opposite of what is shown, then the other. */
  nextTheme(): void {
    const order: readonly Theme[] = ['auto', 'light', 'dark'];
    this.theme.value = order[(order.indexOf(this.theme.value) + 1) % order.length] ?? 'auto';
    localStorage.setItem(THEME_KEY, this.theme.value);
    this.#showTheme();
  }

  #showTheme(): void {
    if (this.theme.value === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme.value;
  }
}

function readTheme(): Theme {
  const kept = localStorage.getItem(THEME_KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'auto';
}

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  if (app === null) throw new Error('useApp outside of AppContext');
  return app;
}
