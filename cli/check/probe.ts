// One look at an HTTP address: what it said, or in one word why it said nothing.

const TIMEOUT_MS = 3_000;

export type Probe =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: Headers;
      /** Parsed where it is JSON, else the text. */
      readonly body: unknown;
      readonly tookMs: number;
    }
  | {
      readonly kind: 'silence';
      readonly why: 'refused' | 'closed' | 'timeout' | 'certificate' | 'other';
      readonly text: string;
    };

export async function probe(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Probe> {
  const startedAt = performance.now();
  try {
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await answer.text();
    const tookMs = performance.now() - startedAt;
    return { kind: 'answer', status: answer.status, headers: answer.headers, body: parsed(text), tookMs };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const text = cause instanceof Error ? cause.message : String(cause);
    return { kind: 'silence', why: reasonOf(error, (cause as NodeJS.ErrnoException).code ?? ''), text };
  }
}

function reasonOf(error: unknown, code: string): Extract<Probe, { kind: 'silence' }>['why'] {
  if (error instanceof Error && error.name === 'TimeoutError') return 'timeout';
  if (code === 'ECONNREFUSED') return 'refused';
  if (code === 'ECONNRESET' || code === 'UND_ERR_SOCKET' || code === 'EPIPE') return 'closed';
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/.test(code)) return 'certificate';
  return 'other';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
