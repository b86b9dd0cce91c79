// What the page is made of, from the database.
import type { Sql } from '../../database/connect.js';
import type { SettingsOf } from '../../settings.js';
import { nextTicks } from '../ticks.js';
import { type PageData, page } from './page.js';

export type PageSettings = Pick<
  SettingsOf<'report'>,
  'STALE_THRESHOLD_DAYS' | 'UNRESOLVED_RETRY_DAYS' | 'INCLUDE_NULL_CANONICAL'
>;

/** Asks the database how things stand, and returns the page as a text. */
export async function readPage(sql: Sql, settings: PageSettings): Promise<string> {
  const [{ status }] = await sql<[Pick<PageData, 'status'>]>`
    select status from identity_sync.identity_status(
      stale_days => ${settings.STALE_THRESHOLD_DAYS}, unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
      include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL}) as status`;
  const [{ series }] = await sql<[Pick<PageData, 'series'>]>`
    select page as series from identity_sync.identity_page(
      stale_days => ${settings.STALE_THRESHOLD_DAYS}, unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
      include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL}) as page`;
  return page({ status, series }, await nextTicks(status));
}
