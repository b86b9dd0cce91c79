// `identity-sync run` over compilations, from the command line to the links.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { guardLibrary, loadCatalogue, loadCompilationCredits } from '../../../src/demo/catalogue.js';
import { loadCompilations, loadIdentities, type StandIn, startStandIn } from '../../../src/demo/stand-in.js';
import { cli, killLeftovers, logOf } from '../../support/cli.js';
import { createDatabase, useDatabase } from '../../support/database.js';

const database = useDatabase(() => createDatabase());

let lml: StandIn;
let ids: number[];

beforeAll(async () => {
  await loadCatalogue(database.sql, { rows: 500 });
  await loadCompilationCredits(database.sql);
  await guardLibrary(database.sql);
  lml = await startStandIn({
    identities: loadIdentities(),
    compilations: loadCompilations(),
    tracksContractVersion: 1,
  });
  await cli(['migrate'], settings());
  const rows = await database.sql<{ id: number }[]>`
    select id from wxyc_schema.library where legacy_release_id < 0 order by id`;
  ids = rows.map((row) => row.id);
});
afterAll(async () => {
  await killLeftovers();
  await lml.close();
});

const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url });

async function run(...flags: string[]) {
  const ended = await cli(['run', '--ids', ids.join(','), ...flags], settings());
  const warnings = logOf(ended).filter(({ msg }) => msg.includes('match no credit'));
  return { status: ended.status, report: JSON.parse(ended.stdout), warnings };
}

describe('a run over real compilations', () => {
  test('foretells in a dry run how many it would resolve', async () => {
    const { status, report } = await run('--dry-run');
    expect(status).toBe(0);
    expect(report).toMatchObject({ scanned: ids.length, would_resolve_compilation: ids.length });
  });

  test('links their credits, and once more changes none', async () => {
    const first = await run();
    expect(first.status).toBe(0);
    expect(first.report).toMatchObject({ rows_resolved_compilation: ids.length, warnings: [] });
    const { written, no_cta_match, no_resolved_name } = first.report.compilation_track;
    expect(no_cta_match).toBe(0);
    const [{ credits, linked }] = await database.sql<[{ credits: number; linked: number }]>`
      select count(*)::integer as credits, count(track_artist_link_method)::integer as linked
      from wxyc_schema.compilation_track_artist`;
    expect(written).toBe(linked);
    expect(written + no_resolved_name).toBe(credits);

    const again = await run();
    expect(again.report.compilation_track).toMatchObject({ written: 0, unchanged: written });
    expect(again.warnings).toEqual([]);
  });

  test('warns at its end, on standard error too, where the credits were renamed since', async () => {
    await database.sql`update wxyc_schema.compilation_track_artist set artist_name = artist_name || ' *'`;
    const { status, report, warnings } = await run();
    expect(status).toBe(0);
    expect(report.warnings).toEqual([
      expect.stringMatching(
        /^batches whose track entries mostly match no credit .*: 1 \(\d+ of \d+ entries\)/,
      ),
    ]);
    expect(warnings).toEqual([
      expect.objectContaining({ step: 'report', run_id: report.run_id, level: 40, msg: report.warnings[0] }),
    ]);
  });
});
