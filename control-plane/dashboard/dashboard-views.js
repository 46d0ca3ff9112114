// State in, tables out. Every text reaches the page through textContent, so a service called <script> is only a name.

const STATE_CLASS = { serving: 'good', probing: 'warn', ejected: 'bad', draining: 'none' };
const EVENT_CLASS = {
  ejection: 'bad',
  reinstatement: 'good',
  overflow: 'warn',
  detection: 'warn',
  panic: 'bad',
  policy: 'calm',
  discovery: 'warn',
  lifecycle: '',
};
/** Discovery at work; what else it has to say is a warning. */
const CALM_REASONS = new Set(['endpoints_changed', 'source_recovered', 'registry_recovered']);
const SLOW_DISCOVERY_MS = 30_000;
const TIMELINE_LENGTH = 100;

function make(tag, classes = '', text = '') {
  const node = document.createElement(tag);
  if (classes !== '') node.className = classes;
  if (text !== '') node.textContent = text;
  return node;
}

function cell(text, classes = '') {
  return make('td', classes, text);
}

function cellOf(nodes, classes = '') {
  const node = make('td', classes);
  node.append(...nodes);
  return node;
}

function pill(text, kind) {
  return make('span', `pill ${kind}`, text);
}

function row(cells, classes = '') {
  const node = make('tr', classes);
  node.append(...cells);
  return node;
}

function table(id, headings, rows, empty) {
  const head = make('thead');
  head.append(row(headings.map(([text, classes]) => make('th', classes ?? '', text))));
  const body = make('tbody');
  const none = row([cell(empty, 'empty')]);
  none.firstChild.colSpan = headings.length;
  body.append(...(rows.length === 0 ? [none] : rows));
  document.getElementById(id).replaceChildren(head, body);
}

const number = (value) => value.toLocaleString('en', { maximumFractionDigits: 0 });
const rate = (value) => (value === 0 ? '0' : value < 10 ? value.toFixed(1) : number(value));
const milliseconds = (value) =>
  value === null
    ? '–'
    : value < 10
      ? `${value.toFixed(1)} ms`
      : value < 10_000
        ? `${number(value)} ms`
        : `${(value / 1000).toFixed(1)} s`;

/** Rounds down, so that 100 % means that nothing failed. */
function percent(ratio) {
  if (ratio === null) return '–';
  const floored = Math.floor(ratio * 100_000) / 1000;
  return `${ratio === 1 ? '100' : floored.toFixed(floored >= 99 ? 3 : 1)} %`;
}

function age(ms) {
  if (ms === null) return '';
  if (ms < 1000) return 'now';
  if (ms < 90_000) return `${Math.round(ms / 1000)} s`;
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function healthOf(ratio) {
  if (ratio === null) return '';
  return ratio >= 0.999 ? 'good' : ratio >= 0.98 ? 'warn' : 'bad';
}

function matches(filter, ...words) {
  return filter === '' || words.some((word) => (word ?? '').toLowerCase().includes(filter));
}

/** Draws everything anew; a page of a few hundred rows takes a few milliseconds. */
export function draw(state) {
  const services = [...state.services.values()].sort((a, b) => (a.service < b.service ? -1 : 1));
  const agents = [...state.agents.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  drawTotals(state, services, agents);
  drawServices(services.filter(({ service }) => matches(state.filter, service)));
  drawEndpoints(services, state.filter);
  drawAgents(
    agents.filter(({ id, service, discovery }) =>
      matches(state.filter, id, service, ...discovery.map((one) => one.service)),
    ),
    state.version,
  );
  drawTimeline(state.events.filter(({ text, service, agentId }) => matches(state.filter, text, service, agentId)));
}

function drawTotals({ version }, services, agents) {
  const sum = (of) => services.reduce((total, service) => total + of(service), 0);
  const valid = sum(({ availability }) => availability.lastMinute.valid);
  const good = sum(({ availability }) => availability.lastMinute.good);
  const success = valid === 0 ? null : good / valid;
  const count = (name) => sum(({ endpointCounts }) => endpointCounts[name]);
  const out = count('ejected') + count('probing');
  const inSync = agents.filter(({ policy }) => policy.isInSync).length;
  const totals = [
    ['Requests, all hops', `${rate(sum((service) => service.requestsPerSecond))} /s`, ''],
    ['Success, 1 min', percent(success), healthOf(success)],
    ['Services', number(services.length), ''],
    ['Endpoints serving', number(count('serving')), ''],
    ['Ejected', number(out), out > 0 ? 'bad' : ''],
    ['Policy version', String(version), ''],
    ['Agents in sync', `${inSync} / ${agents.length}`, inSync < agents.length ? 'warn' : ''],
  ];
  const nodes = totals.map(([name, value, classes]) => {
    const node = make('div');
    node.append(make('dt', '', name), make('dd', classes, value));
    return node;
  });
  document.getElementById('totals').replaceChildren(...nodes);
}

function drawServices(services) {
  const headings = [
    ['Service'],
    ['Requests /s', 'number'],
    ['Success, 1 min', 'number'],
    ['Availability, life', 'number'],
    ['p50', 'number'],
    ['p99', 'number'],
    ['Retries /s', 'number'],
    ['In flight', 'number'],
    ['Endpoints'],
    [''],
  ];
  const rows = services.map((view) => {
    const { availability, endpointCounts } = view;
    const pills = Object.entries(endpointCounts)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => pill(`${count} ${name}`, STATE_CLASS[name]));
    const notes = [];
    if (view.isPanicking) notes.push(pill('panic: ejections ignored', 'bad'));
    if (view.holding.length > 0)
      notes.push(pill('fail static', 'warn'), make('span', 'small', ` ${view.holding[0].reason}`));
    return row([
      cell(view.service, 'name'),
      cell(rate(view.requestsPerSecond), 'number'),
      cell(percent(availability.lastMinute.ratio), `number ${healthOf(availability.lastMinute.ratio)}`),
      cell(percent(availability.life.ratio), `number ${healthOf(availability.life.ratio)}`),
      cell(milliseconds(view.p50Ms), 'number'),
      cell(milliseconds(view.p99Ms), 'number'),
      cell(rate(view.retriesPerSecond), 'number'),
      cell(number(view.inFlight), 'number'),
      cellOf(pills.length > 0 ? pills : [make('span', 'small', 'not called')]),
      cellOf(notes, 'sentence'),
    ]);
  });
  table('services', headings, rows, 'No agent has reported yet. Start one with controlPlane.url set to this address.');
}

function drawEndpoints(services, filter) {
  const headings = [
    ['Endpoint'],
    ['Address'],
    ['State'],
    ['Weight', 'number'],
    ['Attempts /s', 'number'],
    ['In flight', 'number'],
    ['Peak EWMA', 'number'],
    ['Attempts', 'number'],
    ['Failures', 'number'],
    ['Back in', 'number'],
    ['Why'],
  ];
  const rows = [];
  for (const { service, endpoints, edges } of services) {
    const shown = endpoints.filter(({ id, address, state, reason }) =>
      matches(filter, service, id, address, state, reason),
    );
    if (shown.length === 0) continue;
    const callers = [...new Set(edges.filter(({ direction }) => direction === 'outbound').map(({ source }) => source))];
    const title = cellOf([
      document.createTextNode(service),
      make('span', 'small', callers.length === 0 ? '' : `called by ${callers.join(', ')}`),
    ]);
    title.colSpan = headings.length;
    rows.push(row([title], 'group'));
    for (const endpoint of shown) rows.push(endpointRow(service, endpoint));
  }
  table('endpoints', headings, rows, 'Nothing here yet.');
}

/** `payments@payments-3@10.0.0.7:7001` under the heading payments and beside its address is just payments-3. */
function shortName(service, { id, address }) {
  const tail = id.startsWith(`${service}@`) ? id.slice(service.length + 1) : id;
  const name = tail.endsWith(`@${address}`) ? tail.slice(0, -address.length - 1) : tail;
  return name === '' ? id : name;
}

function endpointRow(service, endpoint) {
  const name = cell(shortName(service, endpoint), 'name');
  name.title = endpoint.id;
  const { state, observers, attempts, failures, ejectedUntilEpochMs } = endpoint;
  const same = observers.filter((observer) => observer.state === state).length;
  const status = [pill(state, STATE_CLASS[state])];
  if (same < observers.length) status.push(make('span', 'small', ` for ${same} of ${observers.length} agents`));
  const backIn = ejectedUntilEpochMs === null ? '' : age(Math.max(0, ejectedUntilEpochMs - Date.now()));
  const failed = failures === 0 ? '' : failures / attempts > 0.01 ? 'bad' : 'warn';
  return row(
    [
      name,
      cell(endpoint.address),
      cellOf(status),
      cell(number(endpoint.weight), 'number'),
      cell(rate(endpoint.attemptsPerSecond), 'number'),
      cell(number(endpoint.inFlight), 'number'),
      cell(milliseconds(endpoint.ewmaMs), 'number'),
      cell(number(attempts), 'number'),
      cell(number(failures), `number ${failed}`),
      cell(backIn, 'number'),
      cell(endpoint.reason ?? '', 'sentence reason'),
    ],
    state === 'ejected' ? 'row-bad' : state === 'probing' ? 'row-warn' : '',
  );
}

function drawAgents(agents, version) {
  const headings = [['Agent'], ['State'], ['Policy applied / wanted'], ['Discovery'], ['Up', 'number']];
  const rows = agents.map((agent) => {
    const { policy } = agent;
    const states = [pill(agent.state, agent.state === 'live' ? 'good' : 'warn')];
    if (!agent.isConnected) states.push(pill('no stream', 'warn'));
    if (agent.isDraining) states.push(pill('draining', 'none'));
    else if (!agent.isReady) states.push(pill('not ready', 'warn'));
    const name = cellOf([make('div', 'name', agent.id), make('div', 'small', agent.service ?? 'no report yet')]);
    const up = agent.startedAtEpochMs === null ? '' : age(Date.now() - agent.startedAtEpochMs);
    return row([name, cellOf(states), policyCell(policy, version), discoveryCell(agent.discovery), cell(up, 'number')]);
  });
  table('agents', headings, rows, 'No agent here.');
}

function policyCell(policy, version) {
  const applied = policy.appliedVersion === null ? '–' : policy.appliedVersion;
  const kind =
    policy.verdict === 'NACK' ? 'bad' : policy.isInSync && policy.appliedVersion === version ? 'good' : 'warn';
  const nodes = [pill(`${applied} / ${policy.wantedVersion ?? '–'}`, kind)];
  if (policy.verdict === 'NACK') {
    nodes.push(...policy.problems.map(({ path, message }) => make('div', 'small bad', `refused: ${path} ${message}`)));
  }
  return cellOf(nodes, 'sentence');
}

function discoveryCell(discovery) {
  if (discovery.length === 0) return cell('–', 'small');
  const nodes = discovery.map(({ service, source, ageMs, holding }) => {
    const isOld = source === 'disk' || holding !== null || (ageMs ?? 0) > SLOW_DISCOVERY_MS;
    const text = `${service}: ${source}${ageMs === null ? '' : `, ${age(ageMs)} ago`.replace('now ago', 'now')}${holding === null ? '' : ` – ${holding}`}`;
    return make('div', isOld ? 'small warn' : 'small', text);
  });
  return cellOf(nodes, 'sentence');
}

/** The sentence, and whose it is unless it says so itself. */
function textOf({ text, agentId }) {
  const node = make('span', '', text);
  if (agentId !== null && !text.includes(agentId)) node.append(make('span', 'small', ` ${agentId}`));
  return node;
}

function drawTimeline(events) {
  const items = events
    // Agents report together what happened apart, so the order of arrival is not the order of time.
    .sort((a, b) => b.atEpochMs - a.atEpochMs || b.sequence - a.sequence)
    .slice(0, TIMELINE_LENGTH)
    .map((event) => {
      const time = make('time', '', new Date(event.atEpochMs).toLocaleTimeString('en-GB'));
      const item = make('li');
      const kind = CALM_REASONS.has(event.reason) ? '' : (EVENT_CLASS[event.kind] ?? '');
      item.append(time, make('span', `dot ${kind}`), textOf(event));
      return item;
    });
  document
    .getElementById('timeline')
    .replaceChildren(...(items.length === 0 ? [make('li', 'empty', 'Nothing has happened yet.')] : items));
}
