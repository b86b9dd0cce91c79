// Lines of facts that fit a terminal of any width: a fact is moved to the next line rather than broken.
import { cut, widthOf } from './format.js';

/** Colours repeat what the words say; `plain` leaves them out. */
export interface Palette {
  bold: (text: string) => string;
  red: (text: string) => string;
  yellow: (text: string) => string;
  green: (text: string) => string;
  dim: (text: string) => string;
}

const asItIs = (text: string) => text;

export const plain: Palette = { bold: asItIs, red: asItIs, yellow: asItIs, green: asItIs, dim: asItIs };

/** Puts facts after a head, as many a line as fit; the next lines begin below the first fact. */
export function flow(head: string, facts: string[], width: number, separator = ' · '): string[] {
  const indent = ' '.repeat(widthOf(head));
  const lines: string[] = [];
  let line = head;
  let isEmpty = true;
  for (const fact of facts) {
    const joined = isEmpty ? line + fact : line + separator + fact;
    if (!isEmpty && widthOf(joined) > width) {
      lines.push(line);
      line = indent + fact;
    } else line = joined;
    isEmpty = false;
  }
  lines.push(line);
  return lines.map((text) => cut(text.trimEnd(), width));
}

/** Words over as many lines as they need. */
export const wrapped = (head: string, words: string, width: number): string[] =>
  flow(head, words.split(' '), width, ' ');
