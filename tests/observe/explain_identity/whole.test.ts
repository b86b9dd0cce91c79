// All that is known of one library: every key that README.md names is there, whatever has happened to it.
import { expect } from 'vitest';
import { call, claim, plan, shelve } from '../../support/catalogue.js';
import { readText } from '../../support/repository.js';
import { test } from '../../support/test.js';
import { singleArtist } from '../../support/verdicts.js';

/** The keys that README.md documents in the table of this name. */
const documented = (name: string) => {
  const table = new RegExp(`<!-- keys of ${name} -->\\n([\\s\\S]*?)<!-- /keys -->`).exec(
    readText('README.md'),
  )![1]!;
  return [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, key]) => key).sort();
};

test('has every key that README.md names, of a row never asked and of one with everything', async ({
  database: { sql },
}) => {
  const id = await shelve(sql, 'Autechre');
  const explain = async (libraryId: number) => {
    const [row] = await sql`select identity_sync.explain_identity(${libraryId}) as explained`;
    return row!.explained;
  };
  const before = await explain(id);
  expect(Object.keys(before).sort()).toEqual(documented('explain'));
  expect(before).toMatchObject({
    identity: null,
    sources: [],
    mark: null,
    quarantine: null,
    open_batches: [],
    homonyms: [],
    timeline: [],
  });

  // Batches of others, and one that is closed.
  const other = await shelve(sql, { artist: 'Stereolab', canonical: false });
  await plan(sql, { scope: 'ids', ids: [other] });
  const over = await plan(sql, { scope: 'ids', ids: [id] });
  await call(sql, 'stop_identity_run', { run_id: over, reason: 'enough' });
  const runId = await plan(sql);
  await claim(sql, runId);
  await call(sql, 'apply_identity_verdicts', { response: [singleArtist(id)] });
  await call(sql, 'apply_identity_verdicts', {
    response: [singleArtist(id, { confidence: 7 })],
    requested: [id],
    origin: 'consumer:lml-bulk',
  });
  await sql`insert into wxyc_schema.artists (artist_name) values ('AUTECHRE')`;

  const after = await explain(id);
  expect(Object.keys(after).sort()).toEqual(documented('explain'));
  expect(after).toMatchObject({
    identity: { spotify_id: `spotify-${id}`, is_held: true },
    sources: [{ source: 'discogs' }, { source: 'spotify' }],
    mark: { outcome: 'invalid_verdict' },
    quarantine: { path: 'confidence', value: 7 },
    open_batches: [{ run_id: Number(runId), state: 'in_flight' }],
    homonyms: [{ artist_name: 'AUTECHRE', libraries: 0 }],
  });
});

test('shows a mark that was there before the service', async ({ database: { sql } }) => {
  const id = await shelve(sql, 'Autechre');
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at) values (${id}, 'unresolved', now())`;
  const [row] = await sql`select identity_sync.explain_identity(${id}) as explained`;
  expect(row!.explained).toMatchObject({ mark: { outcome: 'unresolved', run_id: null } });
});

test('refuses a library that is not there', async ({ database: { sql } }) => {
  await expect(sql`select identity_sync.explain_identity(4000000)`).rejects.toMatchObject({
    code: 'LS002',
    message: 'there is no library 4000000',
  });
});
