// Numbers, times and texts as a person reads them on a screen.
import stringWidth from 'string-width';
import { withoutMoving } from './signs.js';

const counts = new Intl.NumberFormat('en-US');

/** 64676 → 64,676 */
export const count = (value: number): string => counts.format(value);

/** 1 call, 2 calls */
export const counted = (sum: number, one: string, many = `${one}s`): string =>
  `${count(sum)} ${sum === 1 ? one : many}`;

/** 0.484 → 48.4 %; what is there, but less than a tenth of a percent, is not said to be nothing. */
export const percent = (share: number): string =>
  share > 0 && share < 0.0005 ? '< 0.1 %' : `${counts.format(Math.round(share * 1000) / 10)} %`;

/** How long something took, or will: 102000 ms → 1 min 42 s. */
export function duration(milliseconds: number): string {
  if (milliseconds <= 0) return '0 s';
  const seconds = Math.round(milliseconds / 1000);
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (seconds < 10) return `${(milliseconds / 1000).toFixed(1).replace('.0', '')} s`;
  const units: [string, number][] = [
    ['day', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  const parts = units.slice(first, first + 2).map(([unit, size], index) => {
    const value = Math.floor((index === 0 ? seconds : seconds % units[first]![1]) / size);
    return value === 0 ? '' : `${value} ${unit === 'day' && value > 1 ? 'days' : unit}`;
  });
  return parts.filter((part) => part !== '').join(' ');
}

/** How long ago a time is, or how far ahead, in one unit: 6 h ago, in 4 days. */
export function age(time: Date | string, now: Date = new Date()): string {
  const seconds = Math.round((now.getTime() - new Date(time).getTime()) / 1000);
  if (Math.abs(seconds) < 5) return 'just now';
  const distance = Math.abs(seconds);
  const [value, unit] =
    distance < 60
      ? [distance, 's']
      : distance < 3600
        ? [Math.round(distance / 60), 'min']
        : distance < 172_800
          ? [Math.round(distance / 3600), 'h']
          : [Math.round(distance / 86_400), 'days'];
  return seconds > 0 ? `${value} ${unit} ago` : `in ${value} ${unit}`;
}

/** A time in UTC, to the minute: 2026-11-27 03:17 UTC. */
export const clock = (time: Date | string): string =>
  `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** Makes a text from the database safe to print: what could move a terminal's cursor becomes a visible sign. */
export const printable = (text: string): string =>
  withoutMoving(text, (sign) => (sign < ' ' ? String.fromCharCode(0x2400 + sign.charCodeAt(0)) : '\ufffd'));

/** JSON that moves no cursor: of what could, JSON itself escapes only the older half. Its own lines stay. */
export const jsonOf = (value: unknown, indent = 0): string =>
  withoutMoving(JSON.stringify(value, null, indent), (sign) =>
    sign === '\n' ? sign : `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** A record as a person calls it. */
export const recordOf = (row: { artist_name: string | null; album_title: string | null }): string =>
  row.artist_name === null ? '–' : printable(`${row.artist_name} – ${row.album_title ?? ''}`);

/** The columns that a text takes on a terminal, where a wide letter takes two. */
export const widthOf = (text: string): number => stringWidth(text);

/** Cuts a text to so many columns of a terminal, and says so by a dot. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let kept = '';
  let width = 0;
  for (const sign of text) {
    width += widthOf(sign);
    if (width > columns - 1) break;
    kept += sign;
  }
  return `${kept}…`;
}

/** Cuts a text in its middle, so that both of its ends are seen. */
export function cutInside(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  const end = Math.floor((columns - 1) / 2);
  const signs = [...text];
  let tail = '';
  while (signs.length > 0 && widthOf(signs.at(-1)! + tail) <= end) tail = signs.pop() + tail;
  return cut(text, columns - widthOf(tail)) + tail;
}

/** Breaks a text between its words into lines of at most so many columns, each behind the indent; nothing makes no line. */
export function wrap(text: string, columns: number, indent = ''): string[] {
  const lines: string[] = [];
  for (const word of printable(text).split(' ')) {
    const longer = lines.length === 0 ? null : `${lines.at(-1)} ${word}`;
    if (longer !== null && widthOf(longer) <= columns) lines[lines.length - 1] = longer;
    else if (word !== '') lines.push(indent + word);
  }
  return lines;
}

/** The columns of the terminal that standard output writes to; a pipe has enough for anything that a person wrote. */
export const columnsOf = (stream: NodeJS.WriteStream): number => (stream.isTTY ? stream.columns || 80 : 200);
