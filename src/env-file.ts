// Settings from the file .env of the working directory, where it is there. A variable that is set beats it, also an empty
// one. A file that other programs read too gives this program nothing but its own variables.
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { isVariableOfAddress } from './database/address.js';
import { describeFailure } from './observe/log.js';
import { isSetting, UsageError } from './settings.js';

const taken = new Set<string>();

/** Whether a variable came from the file. */
export const isFromFile = (name: string): boolean => taken.has(name);

export const namesFromFile = (): string[] => [...taken].sort();

/** Takes the file's settings into the environment, and returns that with all that the file names besides. */
export function readEnvFile(): NodeJS.ProcessEnv {
  let text: string;
  try {
    text = readFileSync('.env', 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return process.env;
    throw new UsageError(`.env cannot be read: ${describeFailure(error).message}`);
  }
  const given = parseEnv(text);
  for (const [name, value] of Object.entries(given)) {
    if (name in process.env || !(isSetting(name) || isVariableOfAddress(name))) continue;
    process.env[name] = value;
    taken.add(name);
  }
  return { ...given, ...process.env };
}
