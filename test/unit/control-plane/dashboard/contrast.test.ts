// Every colour that text is written in can be read on everything it is written on: WCAG 2.2, 1.4.3, level AA, in both themes.

import { readFileSync } from 'node:fs';
import t from 'tap';

const AA = 4.5;
const css = readFileSync(new URL('../../../../control-plane/dashboard/src/style/tokens.css', import.meta.url), 'utf8');

/** Tokens of each block that sets `--bg`: light, dark by the system, dark by choice. */
const themes = [...css.matchAll(/\{([^{}]*--bg:[^{}]*)\}/g)].map(
  ([, block = '']) =>
    new Map([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map(([, name = '', hex = '']) => [name, hex])),
);

/** Relative luminance, 0 to 1. */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

const WRITTEN: readonly (readonly [text: string, grounds: readonly string[]])[] = [
  ['text', ['bg', 'card', 'raised', 'calm-soft', 'bad-soft', 'warn-soft']],
  ['muted', ['bg', 'card', 'raised']],
  ['calm', ['bg', 'card', 'raised', 'calm-soft']],
  ['good', ['bg', 'card', 'raised', 'good-soft']],
  ['warn', ['bg', 'card', 'raised', 'warn-soft']],
  ['bad', ['bg', 'card', 'raised', 'bad-soft']],
  // The text of buttons, badges and marked lines.
  ['card', ['calm', 'bad']],
];

t.test('text can be read on its ground in every theme', async (t) => {
  t.equal(contrast('#000000', '#ffffff'), 21);
  t.equal(themes.length, 3);
  t.same(themes[1], themes[2], 'dark is dark, whoever chose it');
  for (const [index, tokens] of themes.entries()) {
    for (const [text, grounds] of WRITTEN) {
      for (const ground of grounds) {
        const ratio = contrast(tokens.get(text) ?? '', tokens.get(ground) ?? '');
        t.ok(ratio >= AA, `theme ${index}: ${text} on ${ground} has ${ratio.toFixed(2)}`);
      }
    }
  }
});
