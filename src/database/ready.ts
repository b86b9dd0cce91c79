// Whether this program, its database and its login fit together: the first question of every command that works.
import { notFit } from '../errors.js';
import type { Sql } from './connect.js';
import { knownMigrations } from './migrations.js';

/** Throws in words where the database is no fit, or where this login may not call these functions. */
export async function assertFit(sql: Sql, calls: string[]): Promise<void> {
  const known = await knownMigrations();
  try {
    await sql`select from identity_sync.assert_program_fits(known => ${known}, calls => ${calls})`;
  } catch (error) {
    throw notFit(error);
  }
}
