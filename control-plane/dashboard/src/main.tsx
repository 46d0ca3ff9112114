// Starts the page: one App, one tree.

import { render } from 'preact';
import { App, AppContext } from './app.ts';
import { Shell } from './shell.tsx';
import { listenForShortcuts } from './shortcuts.ts';

const app = new App();
const root = document.getElementById('app');
if (root === null) throw new Error('index.html has no #app');
root.replaceChildren();
render(
  <AppContext.Provider value={app}>
    <Shell />
  </AppContext.Provider>,
  root,
);
listenForShortcuts(app);
app.live.start();
