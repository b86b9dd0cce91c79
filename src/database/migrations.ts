// The committed migrations as files. What runs them is loaded by `migrate` alone.
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export const MIGRATIONS = new URL('../../migrations/', import.meta.url);

/** What a database is looked at by before it is migrated. */
export const PREFLIGHT = fileURLToPath(new URL('../../sql/preflight.sql', import.meta.url));

/** The hashes of the migrations that this program brings, from their headers, and their texts. */
export async function broughtMigrations(): Promise<{ hashes: string[]; texts: string[] }> {
  const folder = new URL('committed/', MIGRATIONS);
  const files = (await readdir(folder)).filter((name) => name.endsWith('.sql'));
  const texts = await Promise.all(files.map((name) => readFile(new URL(name, folder), 'utf8')));
  return { hashes: texts.map((text) => /^--! Hash: (.*)$/m.exec(text)?.[1] ?? ''), texts };
}

export const knownMigrations = async (): Promise<string[]> => (await broughtMigrations()).hashes;
