// Lines over time, drawn by uPlot in the colours of the page. It follows its box and the theme.

import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import { useApp } from '../app.ts';

export interface Line {
  readonly name: string;
  /** Name of a colour in style/tokens.css, without the dashes. */
  readonly colour: string;
  readonly isFilled?: boolean;
  readonly isDashed?: boolean;
}

export interface ChartProps {
  readonly title: string;
  readonly height: number;
  readonly lines: readonly Line[];
  /** Epoch seconds, then one list for each line. */
  readonly data: UPlot.AlignedData;
  readonly format: (value: number) => string;
  readonly fromS: number;
  readonly toS: number;
  readonly axisPx?: number;
}

/** Width of the axis of values, where nothing else has to line up with it. */
const AXIS_PX = 64;
/** Height of the axis of time. */
const TIME_PX = 28;
export const RIGHT_PX = 12;
/** Least height of the scale, so that a quiet line lies at the bottom instead of filling the chart with noise. */
const LEAST_MAX = 1;

export function Chart(props: ChartProps) {
  const { theme } = useApp();
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const look = theme.value;
  const names = props.lines.map(({ name }) => name).join();
  // Made anew when the colours or the lines change, fed by the next effect.
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const make = (): void => {
      plot.current?.destroy();
      const made = new UPlot(optionsOf(latest, element.clientWidth), latest.current.data, element);
      plot.current = made;
    };
    make();
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', make);
    const observer = new ResizeObserver(() => {
      if (plot.current?.width !== element.clientWidth) {
        plot.current?.setSize({ width: element.clientWidth, height: latest.current.height });
      }
    });
    observer.observe(element);
    return () => {
      dark.removeEventListener('change', make);
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [look, names, props.height]);
  useEffect(() => {
    plot.current?.setData(props.data, false);
    plot.current?.setScale('x', { min: props.fromS, max: props.toS });
  }, [props.data, props.fromS, props.toS]);
  return (
    <figure class="chart">
      <figcaption>
        {props.title}
        <span class="legend">
          {props.lines.map(({ name, colour }, index) => (
            <span key={name}>
              <i class={`key ${colour}`} aria-hidden="true" /> {name} <b>{lastOf(props, index)}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={box} class="plot" />
    </figure>
  );
}

function lastOf({ data, format }: ChartProps, index: number): string {
  const value = data[index + 1]?.at(-1);
  return value === null || value === undefined ? '–' : format(value);
}

function optionsOf(latest: { readonly current: ChartProps }, width: number): UPlot.Options {
  const css = getComputedStyle(document.documentElement);
  const colour = (name: string): string => css.getPropertyValue(`--${name}`).trim();
  const { lines, height } = latest.current;
  const axis = {
    stroke: colour('muted'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height,
    padding: [8, RIGHT_PX, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { time: true },
      y: { range: (_plot, _min, max) => [0, Math.max(LEAST_MAX, (max ?? 0) * 1.15)] },
    },
    axes: [
      { ...axis, grid: { show: false }, values: (_plot, splits) => splits.map(timeOf), space: 90, size: TIME_PX },
      {
        ...axis,
        size: latest.current.axisPx ?? AXIS_PX,
        space: 36,
        values: (_plot, splits) => splits.map((value) => latest.current.format(value)),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.name,
        stroke: colour(line.colour),
        width: 1.5,
        points: { show: false },
        ...(line.isDashed === true ? { dash: [4, 4] } : {}),
        ...(line.isFilled === true ? { fill: `${colour(line.colour)}22` } : {}),
      })),
    ],
  };
}

function timeOf(epochS: number): string {
  return new Date(epochS * 1000).toLocaleTimeString('en-GB', { hour12: false });
}
