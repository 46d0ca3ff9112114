// A table of which only the rows in sight exist: ten thousand rows scroll as smoothly as ten. All rows have one height.

import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

/** Height of a row in style/tables.css. */
export const ROW_PX = 34;
/** Rows beyond the edges, so that a quick scroll does not show holes. */
const SPARE = 12;

export interface Column {
  readonly title: string;
  readonly key?: string;
  readonly isNumber?: boolean;
  /** Left out on a narrow screen; cells of the column carry the class `wide`. */
  readonly isWide?: boolean;
  readonly about?: string;
}

export function WindowTable<T>(props: {
  readonly id: string;
  readonly caption: string;
  readonly columns: readonly Column[];
  readonly rows: readonly T[];
  readonly row: (item: T, index: number) => VNode;
  readonly empty: ComponentChildren;
  readonly sort?: { readonly key: string; readonly isDown: boolean; readonly onSort: (key: string) => void };
}) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 900 });
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const look = (): void => setView({ top: element.scrollTop, height: element.clientHeight });
    look();
    element.addEventListener('scroll', look, { passive: true });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => {
      element.removeEventListener('scroll', look);
      observer.disconnect();
    };
  }, []);
  const { rows, columns } = props;
  const first = Math.max(0, Math.min(Math.floor(view.top / ROW_PX) - SPARE, rows.length));
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW_PX) + SPARE);
  return (
    <div class="scroll windowed" ref={box}>
      <table id={props.id} class="dense" aria-rowcount={rows.length + 1}>
        <caption class="hidden">{props.caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <Heading key={column.title} column={column} sort={props.sort} />
            ))}
          </tr>
        </thead>
        <tbody>
          <Gap rows={first} columns={columns.length} />
          {rows.slice(first, last).map((item, index) => props.row(item, first + index))}
          <Gap rows={rows.length - last} columns={columns.length} />
          {rows.length === 0 && (
            <tr>
              <td colSpan={columns.length} class="empty">
                {props.empty}
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}

function Heading(props: {
  readonly column: Column;
  readonly sort: { readonly key: string; readonly isDown: boolean; readonly onSort: (key: string) => void } | undefined;
}) {
  const { column, sort } = props;
  const classes = `${column.isNumber === true ? 'number' : ''} ${column.isWide === true ? 'wide' : ''}`.trim();
  if (sort === undefined || column.key === undefined) {
    return (
      <th scope="col" class={classes} title={column.about}>
        {column.title}
      </th>
    );
  }
  const isSorted = sort.key === column.key;
  const key = column.key;
  return (
    <th
      scope="col"
      class={classes}
      title={column.about}
      aria-sort={isSorted ? (sort.isDown ? 'descending' : 'ascending') : undefined}
    >
      <button type="button" class="sort" onClick={() => sort.onSort(key)}>
        {column.title}
        <span aria-hidden="true">{isSorted ? (sort.isDown ? ' ↓' : ' ↑') : ''}</span>
      </button>
    </th>
  );
}

/** Stands for rows that are out of sight. */
function Gap({ rows, columns }: { readonly rows: number; readonly columns: number }) {
  if (rows <= 0) return null;
  return (
    <tr class="gap">
      <td colSpan={columns} style={{ height: `${rows * ROW_PX}px` }} />
    </tr>
  );
}
