// How results look: an aligned table for people, JSON and YAML of the same data for programs. Knows nothing of any command.

import { stripVTControlCharacters, styleText } from 'node:util';
import { Option } from 'commander';
import { stringify } from 'yaml';
import type { Terminal } from './terminal.ts';

export const OUTPUT_FORMATS = ['table', 'wide', 'json', 'yaml'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];
export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold' | 'cyan';

export interface Column<Row> {
  readonly title: string;
  cell(row: Row): string;
  readonly align?: 'right';
  /** Shown by `-o wide` only. */
  readonly isWide?: boolean;
  colour?(row: Row): Colour | null;
}

export function outputOption(fallback: OutputFormat = 'table'): Option {
  return new Option('-o, --output <format>', 'how to print the result').choices(OUTPUT_FORMATS).default(fallback);
}

/**
 * Colours only where the terminal has them, so that pipes and files stay plain. What control characters the text itself holds
 * is made visible: names and reasons come from other machines and must not move the cursor of this one.
 */
export function paint(terminal: Pick<Terminal, 'hasColours'>, colour: Colour | null, text: string): string {
  const shown = plain(text);
  return colour === null || !terminal.hasColours ? shown : styleText(colour, shown, { validateStream: false });
}

/** Every control character but the line feed as U+FFFD. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}

/** Cuts each line to the width of the screen, colours kept; with 0 columns nothing is cut. */
export function cutLines(text: string, columns: number): string {
  if (columns <= 0) return text;
  return text
    .split('\n')
    .map((line) => (widthOf(line) <= columns ? line : cutLine(line, columns)))
    .join('\n');
}

function cutLine(line: string, columns: number): string {
  let left = columns - 1;
  let cut = '';
  // Escape sequences take no room and all of them stay, so that a colour that began ends.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b')) cut += part;
    else {
      const kept = [...part].slice(0, left);
      left -= kept.length;
      cut += kept.join('');
    }
  }
  return `${cut}…`;
}

/**
 * Lays rows out in columns two spaces apart; no trailing blanks, one line feed a line.
 *
 * Widths are code points without escape sequences: fine for the names and numbers of a mesh, not for wide scripts.
 */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  terminal: Pick<Terminal, 'hasColours'>,
  isWide = false,
): string {
  const shown = columns.filter((column) => isWide || column.isWide !== true);
  const cells = rows.map((row) => shown.map((column) => plain(column.cell(row)).replaceAll('\n', ' ')));
  const widths = shown.map((column, at) =>
    // Nothing follows the last column, so a left-aligned one needs no blanks behind it.
    at === shown.length - 1 && column.align !== 'right'
      ? 0
      : Math.max(column.title.length, ...cells.map((line) => widthOf(line[at]))),
  );
  const lines = [shown.map((column, at) => paint(terminal, 'bold', pad(column.title, widths[at] ?? 0, column.align)))];
  rows.forEach((row, index) => {
    const line = cells[index] ?? [];
    lines.push(
      shown.map((column, at) =>
        paint(terminal, column.colour?.(row) ?? null, pad(line[at] ?? '', widths[at] ?? 0, column.align)),
      ),
    );
  });
  return lines.map((line) => `${line.join('  ').trimEnd()}\n`).join('');
}

function widthOf(cell: string | undefined): number {
  return [...stripVTControlCharacters(cell ?? '')].length;
}

function pad(text: string, width: number, align: 'right' | undefined): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'right' ? blanks + text : text + blanks;
}

/** Prints `data` as a program wants it, or `table()` as a person does. */
export function printResult(terminal: Terminal, format: OutputFormat, data: unknown, table: () => string): void {
  terminal.out(renderResult(format, data, table));
}

export function renderResult(format: OutputFormat, data: unknown, table: () => string): string {
  if (format === 'json') return `${JSON.stringify(data, null, 2)}\n`;
  if (format === 'yaml') return stringify(data, { lineWidth: 0 });
  return table();
}

/** `1.2 ms`, `43 ms`, `1.3 s`; a dash when unknown. */
export function formatMs(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '-';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** `12s`, `4m`, `3h`, `2d`: ages and uptimes, rounded down to one unit. */
export function formatAge(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '-';
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

/** Share of successes in percent with two decimals, rounded down so that one failure never reads 100.00 %. */
export function formatShare(successes: number, total: number): string {
  return total === 0 ? '-' : `${(Math.floor((successes / total) * 10_000) / 100).toFixed(2)} %`;
}
