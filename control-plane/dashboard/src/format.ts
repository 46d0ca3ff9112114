// Numbers as people read them: few digits, a unit, and a dash for what was not measured. Pure.

export const DASH = '–';

export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Per second. */
export function rate(value: number): string {
  if (value === 0) return '0';
  return value < 9.95 ? value.toFixed(1) : count(value);
}

export function latency(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return DASH;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${count(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Rounds down, so that 100 % means that nothing failed. */
export function share(ratio: number | null): string {
  if (ratio === null) return DASH;
  if (ratio >= 1) return '100 %';
  const digits = ratio >= 0.99 ? 3 : 1;
  const scale = 10 ** digits;
  return `${(Math.floor(ratio * 100 * scale) / scale).toFixed(digits)} %`;
}

/** A share of failures; what is not zero never reads as zero. */
export function failureShare(failures: number, attempts: number): string {
  if (failures === 0 || attempts === 0) return '0';
  const percent = (100 * failures) / attempts;
  return percent < 0.1 ? '< 0.1 %' : `${percent.toFixed(1)} %`;
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const s = ms / 1_000;
  if (s < 90) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const min = s / 60;
  if (min < 90 && min % 60 !== 0) return `${Math.round(min)} min`;
  const h = min / 60;
  return h < 48 && h % 24 !== 0 ? `${Math.round(h)} h` : `${Math.round(h / 24)} d`;
}

/** Whole seconds that are left, never negative. */
export function countdown(untilEpochMs: number | null, nowEpochMs: number): string {
  if (untilEpochMs === null) return '';
  const s = Math.max(0, Math.ceil((untilEpochMs - nowEpochMs) / 1000));
  return s < 90 ? `${s} s` : duration(s * 1000);
}

export function clockTime(epochMs: number): string {
  return new Date(epochMs).toLocaleTimeString('en-GB', { hour12: false });
}

export type Health = '' | 'good' | 'warn' | 'bad';

export function healthOf(ratio: number | null): Health {
  if (ratio === null) return '';
  if (ratio >= 0.999) return 'good';
  return ratio >= 0.98 ? 'warn' : 'bad';
}

/** `payments@payments-3@10.0.0.7:7001` beside its service and address is just payments-3. */
export function shortName(service: string, id: string, address: string): string {
  const tail = id.startsWith(`${service}@`) ? id.slice(service.length + 1) : id;
  const name = tail.endsWith(`@${address}`) ? tail.slice(0, -address.length - 1) : tail;
  return name === '' ? id : name;
}

export function plural(n: number, word: string): string {
  return `${count(n)} ${word}${n === 1 ? '' : 's'}`;
}
