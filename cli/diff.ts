// Lines of two short texts against each other. Pure.

import { paint } from './output.ts';
import type { Terminal } from './terminal.ts';

export interface DiffLine {
  readonly kind: 'same' | 'added' | 'removed';
  readonly text: string;
}

/** Lines without a difference that are shown before and after one. */
const CONTEXT = 3;

/** The longest common subsequence by the textbook: O(lines²), for documents of a few hundred lines. */
export function diffLines(before: string, after: string): DiffLine[] {
  const left = linesOf(before);
  const right = linesOf(after);
  const width = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * width);
  const at = (row: number, column: number): number => lengths[row * width + column] ?? 0;
  for (let row = left.length - 1; row >= 0; row--) {
    for (let column = right.length - 1; column >= 0; column--) {
      const isSame = left[row] === right[column];
      lengths[row * width + column] = isSame
        ? at(row + 1, column + 1) + 1
        : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: DiffLine[] = [];
  let row = 0;
  let column = 0;
  while (row < left.length || column < right.length) {
    const old = left[row];
    const fresh = right[column];
    if (old !== undefined && old === fresh) {
      lines.push({ kind: 'same', text: old });
      row++;
      column++;
    } else if (old !== undefined && (fresh === undefined || at(row + 1, column) >= at(row, column + 1))) {
      lines.push({ kind: 'removed', text: old });
      row++;
    } else {
      lines.push({ kind: 'added', text: fresh ?? '' });
      column++;
    }
  }
  return lines;
}

export function renderDiff(title: string, lines: readonly DiffLine[], terminal: Pick<Terminal, 'hasColours'>): string {
  const isNear = (index: number): boolean =>
    lines.slice(Math.max(0, index - CONTEXT), index + CONTEXT + 1).some(({ kind }) => kind !== 'same');
  let isCut = false;
  let text = `${paint(terminal, 'bold', title)}\n`;
  lines.forEach(({ kind, text: line }, index) => {
    if (!isNear(index)) {
      if (!isCut) text += `${paint(terminal, 'dim', '  …')}\n`;
      isCut = true;
      return;
    }
    isCut = false;
    if (kind === 'same') text += `  ${paint(terminal, null, line)}\n`;
    else if (kind === 'added') text += `${paint(terminal, 'green', `+ ${line}`)}\n`;
    else text += `${paint(terminal, 'red', `- ${line}`)}\n`;
  });
  return text;
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}
