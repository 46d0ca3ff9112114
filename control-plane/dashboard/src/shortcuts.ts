// Keys: `g` and a letter goes to a screen, `/` to the filter, `?` lists them. None works while somebody types.

import type { App } from './app.ts';
import type { Screen } from './route.ts';

export const SHORTCUTS: readonly (readonly [keys: string, what: string])[] = [
  ['g m', 'Mesh'],
  ['g e', 'Endpoints'],
  ['g t', 'Timeline'],
  ['g p', 'Policies'],
  ['/', 'Filter'],
  ['j  k', 'Next and previous row of a table'],
  ['Enter', 'Open the row, or press the button'],
  ['d', 'Light, dark, or as the system'],
  ['?', 'This list'],
  ['Esc', 'Close, or clear the filter'],
];

const SCREEN_BY_KEY: Readonly<Record<string, Screen>> = { m: 'mesh', e: 'endpoints', t: 'timeline', p: 'policies' };
const CHORD_MS = 1_500;

export function listenForShortcuts(app: App): void {
  let goingUntil = 0;
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]') !== null) return;
    const screen = event.timeStamp < goingUntil ? SCREEN_BY_KEY[event.key] : undefined;
    goingUntil = event.key === 'g' ? event.timeStamp + CHORD_MS : 0;
    if (screen !== undefined) app.go(screen);
    else if (event.key === '?') app.isHelpOpen.value = true;
    else if (event.key === 'd') app.nextTheme();
    else if (event.key === 'j' || event.key === 'k') moveRow(event.key === 'j' ? 1 : -1);
    else if (event.key === '/') document.querySelector<HTMLInputElement>('input[type=search]')?.focus();
    else return;
    event.preventDefault();
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input, textarea, select');
}

/** From the row with the focus, or to the first one. */
function moveRow(step: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  rows[Math.min(rows.length - 1, Math.max(0, at + step))]?.focus();
}
