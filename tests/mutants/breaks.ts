// The ways in which a function's body is broken, one at a time. Works on tokens, so that comments and literals stay whole.
import type { SqlFile } from '../support/repository.js';

export interface Mutant {
  /** What kind of fault it is. */
  kind: string;
  /** The line of the file, as it is and as it becomes; what a mutant is known by. */
  from: string;
  to: string;
  /** The whole file, broken. */
  text: string;
}

interface Token {
  text: string;
  start: number;
  end: number;
}

interface Change {
  kind: string;
  start: number;
  end: number;
  by: string;
}

const TOKEN = /--.*|[Ee]?'(?:[^']|'')*'|"[^"]*"|\d+(?:\.\d+)?|[A-Za-z_]\w*|[<>=:|#@!+\-*/&?]+|\S/g;
const SWAPPED = new Map(
  [
    ...[
      '< <=',
      '<= <',
      '> >=',
      '>= >',
      '= <>',
      '<> =',
      '+ -',
      '- +',
      'and or',
      'or and',
      'true false',
      'false true',
    ],
    ...[
      'least greatest',
      'greatest least',
      'min max',
      'max min',
      'bool_and bool_or',
      'bool_or bool_and',
      'left inner',
    ],
  ].map((pair) => pair.split(' ') as [string, string]),
);
const KIND: [RegExp, string][] = [
  [/^[<>=]+$/, 'comparison'],
  [/^(and|or)$/, 'and/or'],
  [/^(left|inner)$/, 'join'],
];
const LOCK =
  /\bfor (?:no key )?(?:update|key share|share)(?: of \w+)?(?: skip locked| nowait)?(?=\s*(?:[;)]|$|\n))/g;
const SKIP = / (?:skip locked|nowait)(?=\s*(?:[;)]|$))/gm;
const PERFORM = /^ *perform [^;]*;/gm;

/** Every mutant of a definition, in the order of its text. */
export function mutantsOf({ text }: SqlFile): Mutant[] {
  const from = text.search(/^(?:as \$\w*\$|return\b|begin atomic)/m);
  const to = text.search(/^(?:revoke|comment on)\b/m);
  if (from < 0 || to < 0) throw new Error(`no body in: ${text.slice(0, 200)}`);
  const tokens = tokensOf(text, from, to);
  const changes = [
    ...swaps(tokens),
    ...bounds(tokens),
    ...negations(tokens),
    ...branches(tokens),
    ...defaults(tokens),
    ...spans(text, from, to),
  ];
  return changes
    .toSorted((one, other) => one.start - other.start)
    .map(({ kind, start, end, by }) => ({
      kind,
      from: lineOf(text, start),
      to: lineOf(text.slice(0, start) + by + text.slice(end), start) || '(nothing)',
      text: text.slice(0, start) + by + text.slice(end),
    }));
}

function tokensOf(text: string, from: number, to: number): Token[] {
  return [...text.slice(from, to).matchAll(TOKEN)]
    .filter(([token]) => !token.startsWith('--'))
    .map((match) => ({
      text: match[0],
      start: from + match.index,
      end: from + match.index + match[0].length,
    }));
}

/**
 * One operator or word for its neighbour; the `and` of a `between` is no connective. A comparison with the clock is turned
 * round, since its edge is a microsecond that no test meets.
 */
function swaps(tokens: Token[]): Change[] {
  let betweens = 0;
  return tokens.flatMap(({ text, start, end }, index) => {
    if (text === 'between') betweens++;
    if (text === 'and' && betweens > 0) {
      betweens--;
      return [];
    }
    // `left(text, n)` is a function, and a sign of a number no operator.
    if (text === 'left' && tokens[index + 1]?.text !== 'join') return [];
    const isWithClock = tokens[index + 1]?.text === 'clock_timestamp' && /^[<>]=?$/.test(text);
    const by = isWithClock ? (text.startsWith('<') ? '>' : '<') : SWAPPED.get(text);
    return by ? [{ kind: KIND.find(([words]) => words.test(text))?.[1] ?? 'value', start, end, by }] : [];
  });
}

const bounds = (tokens: Token[]): Change[] =>
  tokens
    .filter(({ text }) => /^\d/.test(text))
    .map(({ text, start, end }) => ({
      kind: 'bound',
      start,
      end,
      by: text.includes('.') ? String(Number(text) + 0.01) : String(BigInt(text) + 1n),
    }));

const negations = (tokens: Token[]): Change[] =>
  tokens
    .filter(({ text }, index) => text === 'not' && tokens[index + 1]?.text !== 'materialized')
    .map(({ start, end }) => ({ kind: 'not', start, end: end + 1, by: '' }));

/** A branch of `if` or `case` that is never taken, and a `filter` that keeps every row. */
function branches(tokens: Token[]): Change[] {
  const blocks: ('simple' | 'searched' | 'begin' | 'exception')[] = [];
  return tokens.flatMap(({ text }, index) => {
    const before = tokens[index - 1]?.text;
    const next = tokens[index + 1];
    if (text === 'case' && before !== 'end') blocks.push(next?.text === 'when' ? 'searched' : 'simple');
    if (text === 'begin') blocks.push('begin');
    if (text === 'exception' && before === ';') blocks[blocks.length - 1] = 'exception';
    if (text === 'end' && !['if', 'loop'].includes(next?.text ?? '')) blocks.pop();

    const isIf = (text === 'if' && before !== 'end') || text === 'elsif';
    const isWhen = text === 'when' && blocks.at(-1) !== 'exception';
    if (!next || !(isIf || isWhen)) return [];
    const then = closing(tokens, index + 1, ['then', ';']);
    if (!then) return [];
    const [start, end] = [next.start, tokens[then - 1]!.end];
    const isSimple = isWhen && blocks.at(-1) === 'simple';
    return [{ kind: 'branch', start, end, by: isSimple ? 'null' : 'false' }];
  });
}

/** `coalesce` without its last value. */
function defaults(tokens: Token[]): Change[] {
  return tokens.flatMap(({ text }, index) => {
    if (text !== 'coalesce' || tokens[index + 1]?.text !== '(') return [];
    let last = 0;
    let depth = 0;
    for (let at = index + 2; at < tokens.length; at++) {
      const { text: token } = tokens[at]!;
      if (token === ',' && depth === 0) last = at;
      if (token === ')' && depth-- === 0) {
        return [{ kind: 'default', start: tokens[last + 1]!.start, end: tokens[at - 1]!.end, by: 'null' }];
      }
      if (token === '(') depth++;
    }
    return [];
  });
}

/** A lock left out, a lock that waits, a call left out. */
function spans(text: string, from: number, to: number): Change[] {
  const body = text.slice(from, to);
  const all = (kind: string, words: RegExp, by: string) =>
    [...body.matchAll(words)].map((match) => {
      const start = from + match.index;
      return { kind, start, end: start + match[0].length, by };
    });
  return [...all('lock', LOCK, ''), ...all('lock', SKIP, ''), ...all('call', PERFORM, 'null;')];
}

/** Where the first of these words stands that is in no parenthesis and no `case` of its own. */
function closing(tokens: Token[], from: number, words: string[]): number | undefined {
  let depth = 0;
  for (let at = from; at < tokens.length; at++) {
    const { text } = tokens[at]!;
    if (depth === 0 && words.includes(text)) return at;
    if (['(', '[', 'case'].includes(text)) depth++;
    if ([')', ']', 'end'].includes(text)) depth--;
  }
  return undefined;
}

function lineOf(text: string, at: number): string {
  const end = text.indexOf('\n', at);
  return text.slice(text.lastIndexOf('\n', at - 1) + 1, end < 0 ? text.length : end).trim();
}
