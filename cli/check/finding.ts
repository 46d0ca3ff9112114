// What a check found, and how it is shown. Pure.

import { type Colour, paint } from '../output.ts';
import type { Terminal } from '../terminal.ts';

export interface Finding {
  readonly section: 'host' | 'configuration' | 'consul' | 'control plane' | 'agent';
  readonly level: 'ok' | 'warning' | 'failure';
  /** Stable word for programs. */
  readonly code: string;
  readonly text: string;
  /** The command or edit that mends it; null when all is well. */
  readonly fix: string | null;
}

export type Say = (level: Finding['level'], code: string, text: string, fix?: string) => void;

/** Collects findings of one section. */
export function sectionOf(section: Finding['section']): { readonly findings: Finding[]; readonly say: Say } {
  const findings: Finding[] = [];
  return {
    findings,
    say: (level, code, text, fix) => void findings.push({ section, level, code, text, fix: fix ?? null }),
  };
}

const MARKS: Readonly<Record<Finding['level'], readonly [mark: string, colour: Colour]>> = {
  ok: ['✓', 'green'],
  warning: ['!', 'yellow'],
  failure: ['✗', 'red'],
};

export function renderFindings(findings: readonly Finding[], terminal: Pick<Terminal, 'hasColours'>): string {
  const lines: string[] = [];
  let section = '';
  for (const finding of findings) {
    if (finding.section !== section) {
      section = finding.section;
      lines.push(`${lines.length === 0 ? '' : '\n'}${paint(terminal, 'bold', section)}`);
    }
    const [mark, colour] = MARKS[finding.level];
    lines.push(`${paint(terminal, colour, mark)} ${paint(terminal, null, finding.text)}`);
    if (finding.fix !== null) lines.push(`  fix  ${paint(terminal, 'cyan', finding.fix)}`);
  }
  const count = (level: Finding['level']): number => findings.filter((one) => one.level === level).length;
  lines.push('', `${count('ok')} well, ${count('warning')} to look at, ${count('failure')} to mend`);
  return `${lines.join('\n')}\n`;
}
