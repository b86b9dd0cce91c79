// The plot, as SVG.
import { PASSES } from './comparison.js';
import { type Measured, median } from './goals.js';
import type { Measurement } from './server.js';

const COLOURS = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759'];
const WIDTH = 960;
const LEFT = 190;
const BAR = 13;

interface Panel {
  title: string;
  series: string[];
  groups: { name: string; values: (number | null)[] }[];
  digits: number;
}

/** A panel of bars a question, one below the other; logarithmic, since the variants lie powers of ten apart. */
export function plot({ compared, grown }: Measured): string {
  const passes = PASSES.map((pass) => pass.name);
  const perVerdict = (of: (each: Measurement) => number) =>
    compared.map(({ variant, rows, passes: measured }) => ({
      name: variant,
      values: passes.map((pass) => median(measured[pass].map(of)) / rows),
    }));
  const panels: Panel[] = [
    { title: 'µs a verdict', series: passes, groups: perVerdict((each) => each.seconds * 1e6), digits: 1 },
    {
      title: 'bytes of WAL a verdict',
      series: passes,
      groups: perVerdict((each) => each.walBytes),
      digits: 0,
    },
    {
      title: 'seconds, by rows of the catalogue',
      series: ['planning, 1,000 due', 'nothing due, whole process', 'drain, whole process'],
      groups: grown.map(({ rows, planning, nothingDue, drain }) => ({
        name: rows.toLocaleString('en'),
        values: [median(planning), median(nothingDue.map((usage) => usage.seconds)), drain?.seconds ?? null],
      })),
      digits: 2,
    },
  ].filter((panel) => panel.groups.length > 0);

  let y = 0;
  const drawn = panels.map((panel) => {
    const { svg, height } = drawPanel(panel, y);
    y += height;
    return svg;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
${drawn.join('\n')}
</svg>
`;
}

/** Draws bars in groups, each with its value beside it, from `top` downwards; the scale begins at a power of ten. */
function drawPanel({ title, series, groups, digits }: Panel, top: number): { svg: string; height: number } {
  const values = groups.flatMap((group) => group.values).filter((value) => value !== null);
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(Math.log10(Math.max(...values)), low + 1);
  const x = (value: number) => ((Math.log10(value) - low) / (high - low)) * (WIDTH - LEFT - 80);

  const parts = [
    `<text x="10" y="${top + 24}" font-size="14" font-weight="bold">${title} (logarithmic)</text>`,
  ];
  for (const [index, name] of series.entries()) {
    const left = LEFT + index * 185;
    parts.push(
      `<rect x="${left}" y="${top + 34}" width="11" height="11" fill="${COLOURS[index]}"/>`,
      `<text x="${left + 16}" y="${top + 44}">${name}</text>`,
    );
  }
  let y = top + 58;
  for (const group of groups) {
    parts.push(
      `<text x="${LEFT - 8}" y="${y + (series.length * BAR) / 2 + 4}" text-anchor="end">${group.name}</text>`,
    );
    for (const [index, value] of group.values.entries()) {
      if (value !== null) {
        const width = Math.max(1, x(value));
        parts.push(
          `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[index]}"/>`,
          `<text x="${(LEFT + width + 5).toFixed(1)}" y="${y + BAR - 3}">${value.toFixed(digits)}</text>`,
        );
      }
      y += BAR;
    }
    y += 10;
  }
  return { svg: parts.join('\n'), height: y + 10 - top };
}
