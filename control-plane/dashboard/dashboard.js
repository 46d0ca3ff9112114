// The page's state and its stream. Reads GET /v1/events by fetch, because EventSource cannot carry a token. What is drawn is
// in dashboard-views.js.

import { draw } from './dashboard-views.js';

const RETRY_MS = 1500;
const EVENT_LIMIT = 300;
const TOKEN_KEY = 'outrigger-token';

const state = { version: 0, services: new Map(), agents: new Map(), events: [], filter: '' };
const element = (id) => document.getElementById(id);
let isDrawn = true;

function handle(event, data) {
  if (event === 'state') {
    state.services = new Map(data.services.map((service) => [service.service, service]));
    state.agents = new Map(data.agents.map((agent) => [agent.id, agent]));
    state.events = data.events;
  } else if (event === 'changes') {
    for (const service of data.services) state.services.set(service.service, service);
    for (const agent of data.agents) state.agents.set(agent.id, agent);
    for (const key of data.removed) {
      const [kind, name] = [key.slice(0, key.indexOf(' ')), key.slice(key.indexOf(' ') + 1)];
      (kind === 'service' ? state.services : state.agents).delete(name);
    }
  } else if (event === 'mesh') {
    state.events = [...state.events, data].slice(-EVENT_LIMIT);
  }
  if (data.version !== undefined) state.version = data.version;
  redraw();
}

/** At most once a frame, and not at all in a tab that nobody sees. */
function redraw() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    draw(state);
  });
}

function setLink(text, isGood) {
  element('link').textContent = text;
  element('link').classList.toggle('good', isGood);
}

async function follow() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch('/v1/events', { headers, cache: 'no-store' });
  if (response.status === 401 || response.status === 403 || response.status === 429) {
    askForToken(response.status, token !== null);
    return false;
  }
  if (!response.ok) throw new Error(`status ${response.status}`);
  element('sign-in').hidden = true;
  element('main').hidden = false;
  setLink('live', true);
  await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
  return true;
}

/** Server-sent events by hand: blocks end with an empty line, lines that begin with a colon are comments. */
async function read(reader) {
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const event = lines.find((line) => line.startsWith('event: '))?.slice(7);
      const data = lines.find((line) => line.startsWith('data: '))?.slice(6);
      if (event !== undefined && data !== undefined) handle(event, JSON.parse(data));
    }
  }
}

function askForToken(status, hadToken) {
  sessionStorage.removeItem(TOKEN_KEY);
  element('main').hidden = true;
  element('sign-in').hidden = false;
  setLink('signed out', false);
  const sentences = {
    401: 'That token is not known.',
    403: 'That token may not read the mesh.',
    429: 'Too many attempts; wait a minute.',
  };
  element('sign-in-error').textContent = hadToken || status === 429 ? sentences[status] : '';
  element('token').focus();
}

async function run() {
  for (;;) {
    try {
      if (!(await follow())) return;
    } catch {
      // A lost connection is shown below and tried again.
    }
    setLink('connection lost, showing the last state', false);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

element('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, element('token').value.trim());
  element('token').value = '';
  void run();
});

element('filter').addEventListener('input', () => {
  state.filter = element('filter').value.trim().toLowerCase();
  redraw();
});

document.addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === '/' && !isTyping) {
    event.preventDefault();
    element('filter').focus();
  } else if (event.key === 'Escape' && event.target === element('filter')) {
    element('filter').value = '';
    state.filter = '';
    element('filter').blur();
    redraw();
  }
});

// Countdowns move between changes.
setInterval(redraw, 1000);
void run();
