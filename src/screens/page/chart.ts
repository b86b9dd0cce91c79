// Charts as SVG, drawn without a browser: d3 knows scales, stacks and lines, and the style sheet the colours, so that the same
// chart is light or dark. A pointer on a bar shows its numbers.
import { scaleBand, scaleLinear } from 'd3-scale';
import { line, stack } from 'd3-shape';
import { count } from '../format.js';
import { type Html, html } from './html.js';

const WIDTH = 360;
const HEIGHT = 190;
const LEFT = 44;
const RIGHT = 6;
const TOP = 8;
const BOTTOM = 20;
const FEWEST = 10;

export interface Series {
  name: string;
  /** Which colour of the style sheet. */
  colour: number;
  values: (number | null)[];
}

interface Chart {
  title: string;
  /** What stands below each place of the horizontal axis. */
  places: string[];
  series: Series[];
  /** How a value is written. */
  format?: (value: number) => string;
}

const legend = (series: { name: string; colour: number }[]) =>
  html`<ul class="legend">${series.map(
    ({ name, colour }) =>
      html`<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" rx="2" class="f${colour}"/></svg>${name}</li>`,
  )}</ul>`;

function frame(
  { title, places, series, format = count }: Chart,
  highest: number,
  marks: (y: (value: number) => number, x: (index: number) => number, width: number) => Html[],
): Html {
  const y = scaleLinear([0, highest || 1], [HEIGHT - BOTTOM, TOP]).nice(4);
  // A few bars stay as narrow as many are.
  const slots = Array.from({ length: Math.max(places.length, FEWEST) }, (_, index) => index);
  const x = scaleBand(slots, [LEFT, WIDTH - RIGHT]).paddingInner(0.25);
  const middle = (index: number) => (x(index) ?? 0) + x.bandwidth() / 2;
  const every = Math.ceil(places.length / 5);
  const ticks = y.ticks(4).filter((tick) => highest > 4 || Number.isInteger(tick));
  return html`<figure class="card"><h3>${title}</h3>${legend(series)}
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
${ticks.map(
  (tick) =>
    html`<line class="${tick === 0 ? 'axis' : 'grid'}" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}"/><text x="${LEFT - 5}" y="${y(tick) + 4}" text-anchor="end">${format(tick)}</text>`,
)}
${marks(y, (index) => x(index) ?? 0, x.bandwidth())}
${places.map(
  (place, index) =>
    index % every === 0 &&
    html`<text x="${middle(index)}" y="${HEIGHT - 5}" text-anchor="${index === 0 && places.length > 12 ? 'start' : 'middle'}">${place}</text>`,
)}
</svg></figure>`;
}

/** Bars of stacked series, one a place. */
export function bars(chart: Chart): Html {
  const { places, series, format = count } = chart;
  const valueAt = (index: number, key: number) => series[key]?.values[index] ?? 0;
  const layers = stack<number, number>()
    .keys(series.map((_, key) => key))
    .value(valueAt)(places.map((_, index) => index));
  const highest = Math.max(0, ...layers.flat().map(([, top]) => top));
  return frame(chart, highest, (y, x, width) =>
    places.map((place, index) => {
      const facts = series.map(({ name }, key) => `${name} ${format(valueAt(index, key))}`);
      return html`<g><title>${place}: ${facts.join(', ')}</title>${layers.map((layer) => {
        const [low, high] = layer[index]!;
        return (
          high > low &&
          html`<rect class="f${series[layer.key]!.colour}" x="${x(index)}" width="${width}" y="${y(high)}" height="${y(low) - y(high)}"/>`
        );
      })}</g>`;
    }),
  );
}

/** A line a series, with a gap where there is no value. */
export function lines(chart: Chart): Html {
  const { places, series, format = count } = chart;
  const highest = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  return frame(chart, highest, (y, x, width) =>
    series.map(({ name, colour, values }) => {
      const path = line<number | null>()
        .defined((value) => value !== null)
        .x((_, index) => x(index) + width / 2)
        .y((value) => y(value ?? 0))(values);
      const dots = values.map(
        (value, index) =>
          value !== null &&
          html`<circle class="f${colour}" cx="${x(index) + width / 2}" cy="${y(value)}" r="3"><title>${places[index]}: ${name} ${format(value)}</title></circle>`,
      );
      return html`<path class="s${colour}" d="${path ?? ''}"/>${dots}`;
    }),
  );
}

const ROW = 26;
const NAME = 96;
const SHARE = 56;

/** A bar a row, of parts of a whole, with the sum at its end. */
export function shares(chart: {
  title: string;
  whole: number;
  parts: { name: string; colour: number }[];
  rows: { name: string; values: number[]; sum: string }[];
}): Html {
  const x = scaleLinear([0, chart.whole || 1], [0, WIDTH - NAME - SHARE]);
  const height = chart.rows.length * ROW;
  return html`<figure class="card"><h3>${chart.title}</h3>${legend(chart.parts)}
<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${chart.title}">
${chart.rows.map(({ name, values, sum }, index) => {
  const top = index * ROW;
  let from = NAME;
  const facts = chart.parts.map((part, key) => `${part.name} ${count(values[key] ?? 0)}`);
  return html`<g><title>${name}: ${facts.join(', ')}</title><text class="label" x="0" y="${top + 17}">${name.slice(0, 15)}</text><rect class="whole" x="${NAME}" y="${top + 5}" width="${x(chart.whole)}" height="16"/>${values.map(
    (value, key) => {
      const start = from;
      from += x(value);
      return (
        value > 0 &&
        html`<rect class="f${chart.parts[key]!.colour}" x="${start}" y="${top + 5}" width="${x(value)}" height="16"/>`
      );
    },
  )}<text x="${WIDTH}" y="${top + 17}" text-anchor="end">${sum}</text></g>`;
})}
</svg></figure>`;
}
