// Settings from the file .env of the working directory, where it is there. A variable that is set beats it.
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describeFailure } from './observe/log.js';
import { UsageError } from './settings.js';

const taken = new Set<string>();

/** Whether a variable came from the file. */
export const isFromFile = (name: string): boolean => taken.has(name);

export const namesFromFile = (): string[] => [...taken];

export function readEnvFile(): void {
  let text: string;
  try {
    text = readFileSync('.env', 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return;
    throw new UsageError(`.env cannot be read: ${describeFailure(error).message}`);
  }
  for (const [name, value] of Object.entries(parseEnv(text))) {
    if (name in process.env) continue;
    process.env[name] = value;
    taken.add(name);
  }
}
