// A table for a terminal of any width: what does not fit loses its least important columns, and never breaks a line.
import { cut, cutInside, printable, widthOf } from './format.js';

export interface Column<Row> {
  title: string;
  cell: (row: Row) => string;
  align?: 'right';
  /** Columns of a higher number go first where the width does not suffice; those of 0 stay. */
  rank?: number;
  /** May be cut, down to this many columns. */
  atLeast?: number;
  /** Is cut in its middle, since two ids often differ at the end alone. */
  keepsEnd?: true;
}

const GAP = 2;

/** Lays rows out under the titles of their columns, each line at most `width` wide, without a blank at its end. */
export function table<Row>(columns: Column<Row>[], rows: Row[], width: number): string[] {
  let shown = columns.map((column) => {
    const cells = rows.map((row) => printable(column.cell(row)));
    const wanted = Math.max(widthOf(column.title), ...cells.map(widthOf));
    return { ...column, cells, width: wanted, least: Math.min(wanted, column.atLeast ?? wanted) };
  });
  const total = (key: 'width' | 'least') =>
    shown.reduce((sum, column) => sum + column[key], (shown.length - 1) * GAP);

  while (total('least') > width && shown.some(({ rank }) => rank)) {
    const least = shown.reduce((one, other) => ((other.rank ?? 0) >= (one.rank ?? 0) ? other : one));
    shown = shown.filter((column) => column !== least);
  }
  // The widest of those that may be cut gives first.
  while (total('width') > width) {
    const cuttable = shown.filter((column) => column.width > column.least);
    if (cuttable.length === 0) break;
    const widest = cuttable.reduce((one, other) => (other.width > one.width ? other : one));
    widest.width -= 1;
  }

  const line = (texts: string[]) =>
    cut(
      texts
        .map((text, index) => {
          const { width: columns, align, keepsEnd } = shown[index]!;
          const cell = (keepsEnd ? cutInside : cut)(text, columns);
          const pad = ' '.repeat(columns - widthOf(cell));
          return align === 'right' ? pad + cell : cell + pad;
        })
        .join(' '.repeat(GAP))
        .trimEnd(),
      width,
    );
  return [
    line(shown.map(({ title }) => title)),
    ...rows.map((_, row) => line(shown.map(({ cells }) => cells[row]!))),
  ];
}
