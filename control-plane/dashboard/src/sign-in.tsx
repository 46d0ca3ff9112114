// Asks for a token when the control plane wants one.

import { useEffect, useRef } from 'preact/hooks';
import { useApp } from './app.ts';

export function SignIn() {
  const { live } = useApp();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  const submit = (event: Event): void => {
    event.preventDefault();
    const token = input.current?.value.trim() ?? '';
    if (input.current !== null) input.current.value = '';
    if (token !== '') live.signIn(token);
  };
  return (
    <form id="sign-in" class="card sign-in" onSubmit={submit}>
      <h1>Sign in</h1>
      <label for="token">This control plane asks for a token.</label>
      <input id="token" ref={input} type="password" autocomplete="off" required />
      <button type="submit" class="primary">
        Open
      </button>
      <p id="sign-in-error" class="bad" role="alert">
        {live.refusal.value}
      </p>
      <p class="muted">It is kept in this tab only. `viewer` reads, `editor` writes policies, `admin` also ejects.</p>
    </form>
  );
}
