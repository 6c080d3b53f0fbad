import type { TopLevelSpec } from 'vega-lite';
import { FONT } from './render.ts';

/** Colours of charts and page: on light and on dark ground. `ink`, `muted`, `accent`, `main` and `second` have a contrast of at least 4.5 to `paper`. */
export const THEME = {
  ink: { light: '#1b2733', dark: '#e7edf3' },
  muted: { light: '#54616e', dark: '#a9b6c3' },
  grid: { light: '#dbe1e7', dark: '#36434f' },
  /** Of a task and itself. */
  blank: { light: '#eef1f4', dark: '#27323c' },
  paper: { light: '#ffffff', dark: '#141b22' },
  /** The answer: what is closest. */
  accent: { light: '#c2420f', dark: '#ff9b6a' },
  /** Everything measured. */
  main: { light: '#1c7091', dark: '#6fbfe0' },
  /** A second thing measured, told from `main` by everyone, and by its darkness in print. */
  second: { light: '#8a5a00', dark: '#f0b849' },
} as const;

/** The colours on light ground, which charts are drawn in. */
export const COLOURS = Object.fromEntries(
  Object.entries(THEME).map(([name, { light }]) => [name, light]),
) as Record<keyof typeof THEME, string>;

/** Dark is near, light is far; told apart by everyone, and in print. The distance where each begins. */
export const SEQUENTIAL = {
  domain: [0, 0.25, 0.5, 0.75, 1],
  range: ['#06283d', '#2a83a4', '#7cc0de', '#d6eaf4', '#f7fafc'],
};

/** What all charts of a study share. */
export const CHART = {
  $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
  background: COLOURS.paper,
  padding: 4,
  config: {
    // Each figure has one label of its own instead of one for each of its marks.
    aria: false,
    font: FONT,
    view: { stroke: null },
    text: { color: COLOURS.ink },
    title: { color: COLOURS.ink, anchor: 'start', fontSize: 13 },
    axis: {
      labelFontSize: 11,
      titleFontSize: 11,
      titleFontWeight: 'normal',
      labelLimit: 0,
      labelColor: COLOURS.muted,
      titleColor: COLOURS.muted,
      gridColor: COLOURS.grid,
      domainColor: COLOURS.muted,
      tickColor: COLOURS.muted,
    },
    header: { labelFontSize: 12, labelFontWeight: 'bold', labelAnchor: 'start', labelColor: COLOURS.ink },
    legend: {
      labelFontSize: 11,
      titleFontSize: 11,
      titleFontWeight: 'normal',
      labelColor: COLOURS.ink,
      titleColor: COLOURS.muted,
      labelLimit: 0,
    },
  },
} satisfies Partial<TopLevelSpec>;

/** A chart's SVG for the page: its colours are the page's, so they follow its ground. */
export function themed(svg: string): string {
  const names = new Map(Object.entries(COLOURS).map(([name, colour]) => [colour, name]));
  return svg.replaceAll(/ (fill|stroke)="(#[0-9a-f]{6})"/g, (all, attribute, colour) => {
    const name = names.get(colour);
    return name ? ` ${attribute}="var(--${name})"` : all;
  });
}

/** At most so many characters, on one line and without those that no file of text may hold. */
export function shorten(text: string, most: number): string {
  const characters = [...plain(text)];
  return characters.length <= most ? characters.join('') : `${characters.slice(0, most - 1).join('')}…`;
}

/** The text without control characters, which neither XML nor a table can hold. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cs}\u2028\u2029\ufffe\uffff]+/gu, ' ');
}

/** Names that differ even where they are cut short: by number. */
export function numbered(names: readonly string[], most: number): string[] {
  return names.map((name, i) => `${i}: ${shorten(name, most)}`);
}

/** Names cut short, and numbered where any two would then be the same. */
export function distinct(names: readonly string[], most: number): string[] {
  const cut = names.map((name) => shorten(name, most));
  return new Set(cut).size === cut.length ? cut : numbered(names, most);
}
