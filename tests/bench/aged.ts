// A database as it is after years of nights: a large catalogue of which a part is identified, and a run's traces a night.
import type postgres from 'postgres';
import { fillCatalogue } from './server.js';

export interface Age {
  rows: number;
  /** Of these rows 30 of 100 have an identity, and 6 of 100 were refused; the others are not wanted. */
  runs: number;
  /** What is older was pruned, as the product does each night. */
  keepDays: number;
}

const BATCHES_A_RUN = 80;
const CHANGES_A_BATCH = 4;

/** Fills a migrated database. One in 300 of its identities is stale, so that a million rows have 1,000 due. */
export async function fillAged(sql: postgres.Sql, { rows, runs, keepDays }: Age): Promise<void> {
  await fillCatalogue(sql, rows);
  await sql`set session_replication_role = replica`;
  await sql`update wxyc_schema.library set canonical_entity_id = null where id % 50 >= 18`;
  await sql`
    insert into wxyc_schema.library_identity
      (library_id, discogs_artist_id, musicbrainz_artist_id, method, confidence, last_verified_at, notes)
    select
      id, id, md5(id::text), 'cross_source_agreement', (array[0.65, 0.75, 0.92, 0.95])[1 + id % 4],
      now() - case when row_number() over (order by md5(id::text)) <= ${rows / 1000}::integer then interval '8 days'
        else interval '1 hour' * (1 + id % 150) end,
      'consumer:lml-bulk'
    from generate_series(1, ${rows}::integer) as id
    where id % 50 < 15
    order by id`;
  await sql`
    insert into wxyc_schema.library_identity_source (library_id, source, external_id, method, confidence, last_verified_at)
    select known.library_id, source, md5(source || known.library_id), 'name_variation', 0.85, known.last_verified_at
    from wxyc_schema.library_identity as known, unnest(array['discogs', 'musicbrainz', 'spotify', 'wikidata']) as source
    order by 1, 2`;
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select id, 'invalid_verdict', now() - interval '1 hour' * (1 + id % 700)
    from generate_series(1, ${rows}::integer) as id
    where id % 50 between 15 and 17
    order by id`;
  await sql`
    insert into identity_sync.asked_as (library_id, fingerprint)
    select id, identity_sync_private.fingerprint(id, artist_name, album_title)
    from wxyc_schema.library
    where id % 50 < 18
    order by id`;
  await fillHistory(sql, { rows, runs, keepDays });
  await sql`reset session_replication_role`;
  await sql`vacuum (full, analyze) wxyc_schema.library`;
  await sql`vacuum analyze`;
}

/** A run a night, the last one yesterday: each batch has confirmed its rows but for a few, which it changed. */
async function fillHistory(sql: postgres.Sql, { rows, runs, keepDays }: Age): Promise<void> {
  const report = sql`
    identity_sync_private.empty_report()
      || '{"scanned": 500, "rows_resolved": 500, "identity": {"inserted": 0, "changed": 4, "unchanged": 496}}'`;
  const at = sql`now() - interval '1 day' * (${runs}::integer - run + 1) + interval '1 second' * batch`;
  const batches = sql`
    generate_series(1, ${runs}::integer) as run, generate_series(1, ${BATCHES_A_RUN}::integer) as batch`;
  const changed = sql`1 + 50 * (number::bigint * 7919 % (${rows}::integer / 50))::integer + number % 14`;
  await sql`
    insert into identity_sync.run (
      scope, dry_run, stale_days, unresolved_retry_days, include_null_canonical, partition_index, partition_count,
      strict_bands, batch_size, va_batch_size, deadline_at, planned, opened_by, scheduled, started_at, finished_at,
      report, outcome, reported_at, batches_pruned_at
    )
    select
      'due', false, 7, 30, false, 0, 1, false, 500, 100, ended_at, 40000, 'host:1', true, ended_at - interval '5 minutes',
      ended_at, ${report} || jsonb_build_object('scanned', 40000), 'completed', ended_at,
      case when run <= ${runs - keepDays}::integer then ended_at end
    from generate_series(1, ${runs}::integer) as run
    cross join lateral (select now() - interval '1 day' * (${runs}::integer - run + 1) as ended_at) as night
    order by run`;
  await sql`
    insert into identity_sync.batch (run_id, cohort, library_ids, state, answered_at, closed_at, asked_as)
    select
      run, 'non_va', array(select 1 + (batch * 500 + n) * 7 % ${rows}::integer from generate_series(1, 500) as n),
      'applied', ${at}, ${at}, array(select n::bigint << 40 from generate_series(1, 500) as n)
    from ${batches}
    where run > ${runs - keepDays}::integer
    order by run, batch`;
  await sql`
    insert into identity_sync.lml_call (batch_id, leased_by, inputs, started_at, answered_at, latency_ms, http_status)
    select batch_id, 'host:1:1', 500, closed_at - interval '2 seconds', closed_at, 1900, 200
    from identity_sync.batch
    order by batch_id`;
  await sql`
    insert into identity_sync.settlement
      (run_id, origin, verified_at, settled_at, requested, unrequested, report, history_ids)
    select
      run, 'consumer:lml-bulk', ${at}, ${at}, 500, 0, ${report},
      array(
        select (((run - 1) * ${BATCHES_A_RUN}::integer + batch - 1) * ${CHANGES_A_BATCH}::integer + n)::integer
        from generate_series(1, ${CHANGES_A_BATCH}::integer) as n
      )
    from ${batches}
    order by run, batch`;
  const changes = runs * BATCHES_A_RUN * CHANGES_A_BATCH;
  const settlement = sql`1 + (number - 1) / ${CHANGES_A_BATCH}::integer`;
  await sql`
    insert into wxyc_schema.library_identity_history
      (library_id, discogs_artist_id, method, confidence, last_verified_at, superseded_at, superseded_reason,
        reason_category)
    select
      ${changed}, number, 'name_variation', 0.85, settlement.settled_at, settlement.settled_at, 'changed', 'better'
    from generate_series(1, ${changes}::integer) as number
    join identity_sync.settlement on settlement.settlement_id = ${settlement}
    order by number`;
  await sql`
    insert into identity_sync.superseded_source (
      settlement_id, library_id, source, action, external_id, method, confidence, last_verified_at, superseded_at,
      superseded_reason
    )
    select
      ${settlement}, ${changed}, 'discogs', 'changed', number, 'name_variation', 0.85, settlement.settled_at,
      settlement.settled_at, 'changed'
    from generate_series(1, ${changes}::integer) as number
    join identity_sync.settlement on settlement.settlement_id = ${settlement}
    order by number`;
  await sql`
    insert into identity_sync.quarantined_verdict (
      settlement_id, library_id, outcome, reason, path, value, verdict, origin, verified_at, strict_bands, quarantined_at
    )
    select
      1 + attempt.library_id % ${runs * BATCHES_A_RUN}::integer, attempt.library_id, 'invalid_verdict',
      'no confidence of a method', '$.confidence', '7', jsonb_build_object('library_id', attempt.library_id),
      'consumer:lml-bulk', attempt.attempted_at, false, attempt.attempted_at
    from identity_sync.attempt
    order by attempt.library_id`;
}
