// Places services in columns, callers left of what they call, with few crossings. Pure and steady: the same mesh is drawn the same
// way each time, whatever the order it came in.

export interface LayoutEdge {
  readonly source: string;
  readonly destination: string;
}

export interface Placed {
  readonly name: string;
  readonly column: number;
  readonly x: number;
  readonly y: number;
}

export interface Layout {
  readonly nodes: ReadonlyMap<string, Placed>;
  readonly width: number;
  readonly height: number;
}

export const NODE_WIDTH = 184;
export const NODE_HEIGHT = 64;
const COLUMN_GAP = 150;
const ROW_GAP = 26;
const MARGIN = 16;
/** Sweeps over the columns; more change nothing in meshes of up to some hundred services. */
const SWEEPS = 6;

/** O(sweeps × (nodes log nodes + edges)). */
export function layOut(names: readonly string[], unsorted: readonly LayoutEdge[]): Layout {
  const keyOf = ({ source, destination }: LayoutEdge): string => `${source}\n${destination}`;
  const edges = [...unsorted].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const columns = inColumns([...new Set(names)].sort(), edges);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    untangle(columns, edges, sweep % 2 === 0);
  }
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const height = MARGIN * 2 + tallest * NODE_HEIGHT + (tallest - 1) * ROW_GAP;
  const nodes = new Map<string, Placed>();
  columns.forEach((column, index) => {
    const taken = column.length * NODE_HEIGHT + (column.length - 1) * ROW_GAP;
    column.forEach((name, row) => {
      nodes.set(name, {
        name,
        column: index,
        x: MARGIN + index * (NODE_WIDTH + COLUMN_GAP),
        y: (height - taken) / 2 + row * (NODE_HEIGHT + ROW_GAP),
      });
    });
  });
  const width = MARGIN * 2 + Math.max(1, columns.length) * NODE_WIDTH + Math.max(0, columns.length - 1) * COLUMN_GAP;
  return { nodes, width, height };
}

/** Each service one column right of its rightmost caller; calls that close a ring are left out of account. */
function inColumns(names: readonly string[], edges: readonly LayoutEdge[]): string[][] {
  const known = new Set(names);
  const callees = new Map<string, string[]>(names.map((name) => [name, []]));
  for (const { source, destination } of edges) {
    if (known.has(source) && known.has(destination) && source !== destination) callees.get(source)?.push(destination);
  }
  const column = new Map<string, number>();
  for (const name of sortedByCalls(names, callees)) {
    const at = column.get(name) ?? 0;
    column.set(name, at);
    for (const callee of callees.get(name) ?? []) {
      if (callee !== name) column.set(callee, Math.max(column.get(callee) ?? 0, at + 1));
    }
  }
  const columns: string[][] = [];
  for (const name of names) {
    const at = column.get(name) ?? 0;
    while (columns.length <= at) columns.push([]);
    columns[at]?.push(name);
  }
  return columns.filter((one) => one.length > 0);
}

/** Callers first (depth-first, finished last); edges back to a caller that is under way are dropped from `callees`. */
function sortedByCalls(names: readonly string[], callees: Map<string, string[]>): string[] {
  const state = new Map<string, 'open' | 'done'>();
  const finished: string[] = [];
  const called = new Set([...callees.values()].flat());
  const starts = [...names.filter((name) => !called.has(name)), ...names];
  for (const start of starts) {
    if (state.has(start)) continue;
    state.set(start, 'open');
    const path = [{ name: start, next: 0 }];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const list = callees.get(top.name) ?? [];
      const callee = list[top.next];
      if (callee === undefined) {
        state.set(top.name, 'done');
        finished.push(top.name);
        path.pop();
      } else if (state.get(callee) === 'open') {
        list.splice(top.next, 1);
      } else {
        top.next++;
        if (!state.has(callee)) {
          state.set(callee, 'open');
          path.push({ name: callee, next: 0 });
        }
      }
    }
  }
  return finished.reverse();
}

/** Orders each column by the middle of its neighbours in the column before (or after). */
function untangle(columns: string[][], edges: readonly LayoutEdge[], isForward: boolean): void {
  const place = new Map<string, number>();
  const note = (column: readonly string[]): void => {
    column.forEach((name, row) => {
      place.set(name, row - (column.length - 1) / 2);
    });
  };
  columns.forEach(note);
  const neighbours = new Map<string, string[]>();
  for (const { source, destination } of edges) {
    const [from, to] = isForward ? [destination, source] : [source, destination];
    const list = neighbours.get(from);
    if (list === undefined) neighbours.set(from, [to]);
    else list.push(to);
  }
  for (const column of isForward ? columns : [...columns].reverse()) {
    const middle = (name: string): number => {
      const rows = (neighbours.get(name) ?? []).flatMap((one) => place.get(one) ?? []);
      return rows.length === 0 ? (place.get(name) ?? 0) : rows.reduce((sum, row) => sum + row, 0) / rows.length;
    };
    const middles = new Map(column.map((name) => [name, middle(name)]));
    column.sort((a, b) => (middles.get(a) ?? 0) - (middles.get(b) ?? 0) || (a < b ? -1 : 1));
    note(column);
  }
}
