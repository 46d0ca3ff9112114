// A tap reporter for logs: one line a file, every failure whole, and a last line `N passed, N failed`.
// Must be a Transform: tap pipes raw TAP into it and its output onward.
import { Transform } from 'node:stream';
import { Parser } from 'tap-parser';

export default class Reporter extends Transform {
  #counts = { pass: 0, fail: 0, skip: 0 };
  #parser = new Parser();

  constructor() {
    super();
    this.#listen(this.#parser, []);
  }

  #listen(parser, path) {
    let child = null;
    let failuresBefore = 0;
    parser.on('child', (next) => {
      child = next;
      failuresBefore = this.#counts.fail;
      this.#listen(next, [...path, next.name]);
    });
    // What a test says of itself: figures it saw, and what it leaves out on this machine.
    parser.on('comment', (comment) => {
      if (!/^# (Subtest|time=|\{|No coverage)/.test(comment)) this.push(`  ${comment.trim()}\n`);
    });
    parser.on('bailout', (reason) => this.push(`BAIL OUT ${reason}\n`));
    parser.on('assert', (result) => {
      // A subtest is followed by one line that sums it up; counting that line too would count its assertions twice.
      const isSummary = child?.name === result.name;
      child = null;
      if (path.length === 0) {
        this.push(`${result.ok ? 'ok    ' : 'FAILED'} ${result.name} (${Math.round(result.time ?? 0)} ms)\n`);
      }
      if (result.skip || result.todo) {
        this.#counts.skip++;
        this.push(`  skipped: ${[...path, result.name].join(' > ')} ${result.skip || result.todo}\n`);
      } else if (result.ok) {
        if (!isSummary) this.#counts.pass++;
      } else if (!(isSummary && this.#counts.fail > failuresBefore)) {
        this.#counts.fail++;
        this.push(`  not ok: ${[...path, result.name].join(' > ')}\n${describe(result.diag)}`);
      }
    });
  }

  _transform(chunk, _encoding, callback) {
    this.#parser.write(String(chunk));
    callback();
  }

  _flush(callback) {
    this.#parser.on('complete', () => {
      const { pass, fail, skip } = this.#counts;
      this.push(`${pass} passed, ${fail} failed${skip > 0 ? `, ${skip} skipped` : ''}\n`);
      callback();
    });
    this.#parser.end();
  }
}

function describe(diag) {
  if (!diag) return '';
  const { diff, source, stack, at, ...rest } = diag;
  const place = at ? `${at.fileName}:${at.lineNumber}` : '';
  return `${[place, diff, source, stack, JSON.stringify(rest)]
    .filter(Boolean)
    .join('\n')
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n')}\n`;
}
