-- What the writer changed of a library, an event a settlement: its main row from library_identity_history, its source
-- rows from superseded_source. What a row became is what it was before the next change, or is now.
create or replace function identity_sync_private.changes_of(library_id integer)
returns table (at timestamptz, kind text, settlement_id bigint, words text, changes jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with main as (
    select
      history.history_id,
      history.superseded_at as at,
      history.superseded_reason as words,
      history.reason_category as category,
      to_jsonb(history) as stored
    from wxyc_schema.library_identity_history as history
    where history.library_id = changes_of.library_id
    union all
    select null, null, null, null, to_jsonb(known)
    from wxyc_schema.library_identity as known
    where known.library_id = changes_of.library_id
  ),
  main_step as (
    select
      main.*,
      case
        when main.category is distinct from 'release'
        then lead(main.stored) over (order by main.history_id nulls last)
      end as became
    from main
  ),
  source_step as (
    select
      old.settlement_id,
      old.superseded_at as at,
      old.superseded_reason as words,
      old.source,
      to_jsonb(old) as stored,
      case
        when old.action <> 'removed' then coalesce(
          lead(to_jsonb(old)) over (partition by old.source order by old.superseded_id),
          (
            select to_jsonb(known)
            from wxyc_schema.library_identity_source as known
            where known.library_id = changes_of.library_id and known.source = old.source
          )
        )
      end as became
    from identity_sync.superseded_source as old
    where old.library_id = changes_of.library_id
  ),
  step as (
    select
      (
        select settlement.settlement_id
        from identity_sync.settlement
        where settlement.settled_at between main_step.at - interval '1 minute' and main_step.at + interval '1 day'
          and main_step.history_id = any (settlement.history_ids)
        order by settlement.settled_at
        limit 1
      ) as settlement_id,
      main_step.at, main_step.words, 'identity' as stored_row, main_step.stored, main_step.became,
      array[
        'discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id', 'bandcamp_id',
        'method', 'confidence', 'notes'
      ] as columns
    from main_step
    where main_step.history_id is not null
    union all
    select
      source_step.settlement_id, source_step.at, source_step.words, source_step.source, source_step.stored,
      source_step.became, array['external_id', 'method', 'confidence']
    from source_step
  )
  select
    max(step.at),
    'changed',
    step.settlement_id,
    max(step.words),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'row', step.stored_row, 'column', named.name,
          'old', step.stored -> named.name, 'new', coalesce(step.became -> named.name, 'null')
        )
        order by step.stored_row <> 'identity', step.stored_row, named.place
      ) filter (where (step.stored ->> named.name) is distinct from (step.became ->> named.name)),
      '[]'
    )
  from step
  cross join lateral unnest(step.columns) with ordinality as named (name, place)
  group by step.settlement_id, case when step.settlement_id is null then step.at end

  union all
  select settlement.settled_at, 'identified', settlement.settlement_id, 'first identity', '[]'
  from identity_sync.settlement
  where changes_of.library_id = any (settlement.inserted_ids) and not settlement.dry_run;
$$;

revoke all on function identity_sync_private.changes_of(integer) from public;

comment on function identity_sync_private.changes_of(integer) is
  'Takes a library; returns each settlement that changed its identity or its sources, with the time, why, and the columns old beside new; and the one that wrote its first identity.';
