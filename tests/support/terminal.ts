// The program at a terminal of a given width, as a person has it: util-linux's `script` gives it one.
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import './cli.js';

const program = join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'cli.js');

/** Runs the program to its end, and returns what the terminal was sent: results and log in one, as a person sees them. */
export function atATerminal(
  args: string[],
  settings: Record<string, string>,
  columns = 80,
): Promise<{ status: number; screen: string }> {
  const words = [process.execPath, program, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  const { PATH, HOME } = process.env;
  return new Promise((resolve) => {
    execFile(
      'script',
      [
        '--quiet',
        '--return',
        '--command',
        `stty cols ${columns} rows 40; exec ${words.join(' ')}`,
        '/dev/null',
      ],
      {
        cwd: dirname(program),
        env: { PATH, HOME, TERM: 'xterm', SHELL: '/bin/sh', THROTTLE_MS: '0', ...settings },
      },
      (error, stdout) => {
        const status = error === null ? 0 : Number(error.code);
        resolve({ status, screen: stdout.replaceAll('\r\n', '\n') });
      },
    );
  });
}
