// The list of keys.

import { useApp } from './app.ts';
import { Dialog } from './parts/dialog.tsx';
import { SHORTCUTS } from './shortcuts.ts';

export function Help() {
  const { isHelpOpen } = useApp();
  if (!isHelpOpen.value) return null;
  return (
    <Dialog title="Keys" onClose={() => (isHelpOpen.value = false)}>
      <dl class="keys">
        {SHORTCUTS.map(([keys, what]) => (
          <div key={keys}>
            <dt>{keys.split(' ').map((key) => key !== '' && <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog" class="buttons">
        <button type="submit">Close</button>
      </form>
    </Dialog>
  );
}
