// What the stream does not carry, asked for again and again while a screen shows it.

import { useEffect, useState } from 'preact/hooks';
import { useApp } from '../app.ts';
import { sentenceOf } from './api.ts';

export interface Polled<T> {
  readonly value: T | null;
  /** The last failure, null after a success. */
  readonly error: string | null;
  readonly refresh: () => void;
}

/** @param path null asks nothing */
export function usePolled<T>(path: string | null, everyMs: number): Polled<T> {
  const { api } = useApp();
  const [state, setState] = useState<{ path: string | null; value: T | null; error: string | null }>({
    path,
    value: null,
    error: null,
  });
  const [turn, setTurn] = useState(0);
  // `turn` asks again at once.
  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    const look = async (): Promise<void> => {
      try {
        const value = await api.ask<T>(path, { signal: abort.signal });
        if (!abort.signal.aborted) setState({ path, value, error: null });
      } catch (error) {
        if (!abort.signal.aborted)
          setState((former) => ({ path, value: former.path === path ? former.value : null, error: sentenceOf(error) }));
      }
    };
    void look();
    const timer = setInterval(() => void look(), everyMs);
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [path, everyMs, turn]);
  const isOurs = state.path === path;
  return {
    value: isOurs ? state.value : null,
    error: isOurs ? state.error : null,
    refresh: () => setTurn((n) => n + 1),
  };
}
