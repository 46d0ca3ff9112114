// The frame around every screen: navigation, age of the data, what is wrong with the sources, the token when one is asked for.

import { useEffect, useRef } from 'preact/hooks';
import { useApp } from './app.ts';
import { Help } from './help.tsx';
import { bannersOf } from './live/banners.ts';
import { formatRoute, type Screen } from './route.ts';
import { EndpointsScreen } from './screens/endpoints.tsx';
import { MeshScreen } from './screens/mesh.tsx';
import { PoliciesScreen } from './screens/policies.tsx';
import { ServiceScreen } from './screens/service.tsx';
import { TimelineScreen } from './screens/timeline.tsx';
import { SignIn } from './sign-in.tsx';

const TABS: readonly (readonly [screen: Screen, title: string])[] = [
  ['mesh', 'Mesh'],
  ['endpoints', 'Endpoints'],
  ['timeline', 'Timeline'],
  ['policies', 'Policies'],
];
/** A page that follows hears something at least this often while agents report. */
const OLD_DATA_MS = 5_000;

export function Shell() {
  const { live, route, isHelpOpen } = useApp();
  const { screen, subject } = route.value;
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  useEffect(() => {
    const title = screen === 'service' ? subject : (TABS.find(([name]) => name === screen)?.[1] ?? '');
    document.title = `${title} · Outrigger`;
    // Whoever follows a link reads on from the new screen; the first one leaves the focus where the browser put it.
    if (!isFirst.current) main.current?.focus({ preventScroll: true });
    isFirst.current = false;
    scrollTo(0, 0);
  }, [screen, subject]);
  const isSignedOut = live.link.value === 'signed out';
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <a class="brand" href="#/mesh">
          <img src="/favicon.svg" alt="" width="20" height="20" />
          Outrigger
        </a>
        <nav aria-label="Screens">
          {TABS.map(([name, title]) => (
            <a
              key={name}
              href={formatRoute({ screen: name })}
              aria-current={screen === name || (name === 'mesh' && screen === 'service') ? 'page' : undefined}
            >
              {title}
            </a>
          ))}
        </nav>
        <span class="spring" />
        <DataAge />
        <ThemeButton />
        <button type="button" class="quiet" onClick={() => (isHelpOpen.value = true)} title="Keys (?)">
          ?<span class="hidden">Keys</span>
        </button>
      </header>
      {!isSignedOut && <Banners />}
      <main id="main" ref={main} tabIndex={-1} data-screen={screen}>
        {isSignedOut ? <SignIn /> : <CurrentScreen />}
      </main>
      <Help />
    </>
  );
}

function CurrentScreen() {
  const { screen, subject } = useApp().route.value;
  switch (screen) {
    case 'mesh':
      return <MeshScreen />;
    case 'service':
      return <ServiceScreen key={subject} service={subject} />;
    case 'endpoints':
      return <EndpointsScreen />;
    case 'timeline':
      return <TimelineScreen />;
    case 'policies':
      return <PoliciesScreen key={subject} subject={subject} />;
  }
}

/** Always there: how old what is shown is, and over which link it came. */
function DataAge() {
  const { live } = useApp();
  const { receivedAt, now, link } = live;
  const ageMs = receivedAt.value === null ? null : Math.max(0, now.value - receivedAt.value);
  const isOld = link.value !== 'live' || (ageMs ?? 0) > OLD_DATA_MS;
  const age = ageMs === null ? 'no data yet' : ageMs < 1_500 ? 'now' : `${Math.round(ageMs / 1000)} s old`;
  const word = link.value === 'live' ? 'live' : link.value;
  return (
    <span class={`age ${isOld ? 'warn' : 'good'}`} data-link={link.value}>
      <span class="dot" aria-hidden="true" />
      <span role="status">{word}</span>
      {link.value !== 'signed out' && <span class="muted"> · {age}</span>}
    </span>
  );
}

function ThemeButton() {
  const app = useApp();
  const names = { auto: 'System', light: 'Light', dark: 'Dark' } as const;
  return (
    <button type="button" class="quiet" onClick={() => app.nextTheme()} title="Light or dark (d)">
      <span aria-hidden="true">◐ </span>
      <span class="hidden">Theme: </span>
      {names[app.theme.value]}
    </button>
  );
}

function Banners() {
  const { link, storeFault, mesh } = useApp().live;
  return (
    <>
      {bannersOf({ link: link.value, storeFault: storeFault.value, mesh: mesh.value }).map(({ id, text }) => (
        <div key={id} class="banner" role="alert" data-banner={id}>
          {text}
        </div>
      ))}
    </>
  );
}
