// Logs on standard error, so that standard output holds results only: JSON lines, or text for a person at a terminal.
import { pino } from 'pino';
import { onOneLine } from '../screens/signs.js';

export const LOG_FORMATS = ['text', 'json'] as const;

/** What stands on the terminal's last line and has to make room for log lines. */
export interface LastLine {
  clear(): void;
  draw(): void;
}

let isText = process.stderr.isTTY === true;
let lastLine = null as LastLine | null;
const stderr = pino.destination({ dest: 2, sync: true });

export const log = pino(
  {
    base: { repo: 'library-identity-sync', tool: 'identity-sync' },
    timestamp: pino.stdTimeFunctions.isoTime,
    hooks: {
      logMethod(args, method, level) {
        const [fields, words] = args as unknown as [Fields, string];
        // Also of messages that other packages make.
        const message = withoutLogin(words);
        lastLine?.clear();
        if (isText) stderr.write(textLine(new Date(), level, fields, message));
        else method.apply(this, [fields, message] as unknown as typeof args);
        lastLine?.draw();
      },
    },
  },
  stderr,
);

type Fields = Record<string, unknown>;

/** Sets what is logged, and how; without a format, text on a terminal and JSON elsewhere. */
export function configureLog(level: string, format: (typeof LOG_FORMATS)[number] | undefined): void {
  log.level = level;
  if (format !== undefined) isText = format === 'text';
}

export const logsText = (): boolean => isText;

/** Keeps a line below the log lines, or no line any more. */
export function keepLastLine(line: LastLine | null): void {
  lastLine = line;
}

/** A log line for a person: the time in UTC, how bad it is, what happened, and what PostgreSQL says besides. */
export function textLine(at: Date, level: number, { detail, hint }: Fields, message: string): string {
  const grade = level >= 50 ? 'error: ' : level >= 40 ? 'warning: ' : '';
  const words = [message, detail, hint].filter((part) => part !== undefined).join(' – ');
  return `${at.toISOString().slice(11, 19)} ${grade}${onOneLine(words)}\n`;
}

/** Logs a failure: the words say what failed, its own message why. */
export function logFailure(level: 'warn' | 'error', fields: Fields, words: string, error: unknown): void {
  const { message, ...rest } = describeFailure(error);
  log[level]({ ...fields, ...rest }, `${words}: ${message}`);
}

/** Describes a failure by its message and PostgreSQL's fields, without a query's parameters or a URL's login. */
export function describeFailure(error: unknown): {
  message: string;
  code?: string;
  detail?: string;
  hint?: string;
} {
  const { message, code, detail, hint } = error as Record<string, unknown>;
  const fields = { message: message || String(code ?? error), code, detail, hint };
  const words = Object.entries(fields).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(words.map(([name, word]) => [name, withoutLogin(word)])) as { message: string };
}

const withoutLogin = (text: string) => text.replaceAll(/\b([a-z+]+:\/\/)[^\s/]*@/gi, '$1');
