--! Previous: sha1:dcf313bd030970f8ffd63d3e6b075a8432300423
--! Hash: sha1:0f12aeb7789cdd82ae18daaec67d84e75f8584be
--! Message: links taken back

-- A link taken back keeps nothing of who took it, so its method needs no field of its own.
alter type identity_sync.track_change drop attribute link_method;

--! Included functions/judge_tracks.sql
-- Judges the track entries of a compilation, each on its own, and keeps what a credit can be linked by: one entry a key.
-- An unusable entry (no object, a field of the wrong type, a blank credit, a name or title longer than its column) comes
-- back without an artist_name, so that it is counted and costs none of its neighbours.
create or replace function identity_sync.judge_tracks(tracks jsonb)
returns identity_sync.judged_track[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- What begins with anything else is not blank, which is cheaper to see.
  blanks constant text := E' \t\n\v\f\r';
  judged identity_sync.judged_track[];
  keys integer;
  usable integer;
begin
  select
    array_agg(
      case
        when entry.is_usable
        then row(
          entry.artist_name,
          entry.track_title,
          case
            when ascii(entry.resolved_artist_name) > 32 or btrim(entry.resolved_artist_name, blanks) <> ''
            then entry.resolved_artist_name
          end,
          entry.confidence,
          entry.confidence is null and entry.stated_confidence <> 'null',
          case
            when ascii(entry.track_position) > 32 or btrim(entry.track_position, blanks) <> '' then entry.track_position
          end,
          false
        )::identity_sync.judged_track
        else row(null, null, null, null, null, null, null)::identity_sync.judged_track
      end
      order by entry.ordinal
    ),
    count(*) filter (where entry.is_usable),
    -- Two keys may look like one here, never one like two: the exact and slower look is for the rare doubles alone.
    count(distinct hashtextextended(coalesce(entry.track_title, ''), hashtextextended(entry.artist_name, 0)))
      filter (where entry.is_usable)
  into judged, usable, keys
  from (
    select
      field.*,
      case
        when field.stated_confidence between '0' and '1' then round(field.stated_confidence::numeric, 12)::real
      end as confidence,
      coalesce(
        jsonb_typeof(field.entry -> 'artist_name') = 'string'
        and char_length(field.artist_name) <= 255
        and (ascii(field.artist_name) > 32 or btrim(field.artist_name, blanks) <> '')
        and (
          field.track_title is null
          or (jsonb_typeof(field.entry -> 'track_title') = 'string' and char_length(field.track_title) <= 255)
        )
        and (
          field.resolved_artist_name is null
          or (
            jsonb_typeof(field.entry -> 'resolved_artist_name') = 'string'
            and char_length(field.resolved_artist_name) <= 255
          )
        )
        and (field.track_position is null or jsonb_typeof(field.entry -> 'track_position') = 'string')
        and coalesce(jsonb_typeof(field.stated_confidence) in ('number', 'null'), true),
        false
      ) as is_usable
    from (
      select
        listed.entry,
        listed.ordinal,
        listed.entry ->> 'artist_name' as artist_name,
        listed.entry ->> 'track_title' as track_title,
        listed.entry ->> 'resolved_artist_name' as resolved_artist_name,
        listed.entry ->> 'track_position' as track_position,
        listed.entry -> 'confidence' as stated_confidence
      from jsonb_array_elements(nullif(judge_tracks.tracks, 'null')) with ordinality as listed (entry, ordinal)
      offset 0
    ) as field
    offset 0
  ) as entry;

  return case when keys = usable then judged else identity_sync.best_judged_tracks(judged) end;
end;
$$;

revoke all on function identity_sync.judge_tracks(jsonb) from public;

comment on function identity_sync.judge_tracks(jsonb) is
  'Takes the track entries of a compilation, a JSON array or null; returns one judged track a key, and one without an artist_name for each entry that is unusable.';
--! EndIncluded functions/judge_tracks.sql
--! Included functions/compare_track_links.sql
-- Lays the judged tracks of compilations beside their credits and finds what each would change, writing nothing.
-- An entry belongs to the credit of its library with exactly its artist_name and track_title, null to null; it means the
-- one artist of the catalogue whose name folds as its resolved name does. Every key and every unusable entry is in
-- exactly one of the first seven counts, the others are "of which".
create or replace function identity_sync.compare_track_links(verdicts identity_sync.judged_verdict[], results jsonb)
returns identity_sync.compared_tracks
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- One hash join of all entries with all credits, whatever the planner makes of arrays and of tables still empty.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  compared identity_sync.compared_tracks;
begin
  with entry as materialized (
    select verdict.library_id, track.*
    from unnest(verdicts) as verdict
    cross join lateral unnest(
      identity_sync.judge_tracks(compare_track_links.results #> array[(verdict.ordinal - 1)::text, 'tracks'])
    ) as track
  ),
  -- Of several artists with one fold nobody can say which is meant.
  artist as (
    select
      named.resolved_artist_name,
      (
        select case when count(*) = 1 then min(artists.id) end
        from wxyc_schema.artists
        where wxyc_schema.fold_artist_name(artists.artist_name) = named.fold
      ) as artist_id
    from (
      select entry.resolved_artist_name, wxyc_schema.fold_artist_name(entry.resolved_artist_name) as fold
      from entry
      where entry.resolved_artist_name is not null
      group by entry.resolved_artist_name
      offset 0
    ) as named
    offset 0
  ),
  credit as (
    select known.*, known.ctid as version
    from wxyc_schema.compilation_track_artist as known
    where known.library_id = any (array(select verdict.library_id from unnest(verdicts) as verdict))
  ),
  laid as (
    select
      entry.artist_name,
      entry.resolved_artist_name,
      entry.confidence,
      entry.confidence_out_of_range,
      entry.ambiguous_position,
      credit.id as credit_id,
      credit.version,
      credit.track_artist_id as known_artist_id,
      credit.track_artist_link_confidence as known_confidence,
      credit.track_artist_link_method as known_method,
      credit.track_position as known_position,
      artist.artist_id,
      case
        when credit.track_position is null and char_length(entry.track_position) <= 20 then entry.track_position
      end as new_position
    from entry
    left join credit
      on credit.library_id = entry.library_id
      and credit.artist_name = entry.artist_name
      and coalesce(credit.track_title, '') = coalesce(entry.track_title, '')
      and (credit.track_title is null) = (entry.track_title is null)
    left join artist on artist.resolved_artist_name = entry.resolved_artist_name
    offset 0
  ),
  reached as (
    select
      laid.*,
      case
        when laid.artist_name is null then 'unusable'
        when laid.credit_id is null then 'no_cta_match'
        when laid.known_method = 'librarian' then 'librarian'
        when laid.resolved_artist_name is null and laid.known_method = 'lml_backfill' then 'unlinked'
        when laid.resolved_artist_name is null then 'no_resolved_name'
        when laid.known_method is distinct from 'lml_backfill'
          or laid.known_artist_id is distinct from laid.artist_id
          or laid.known_confidence is distinct from laid.confidence
          or laid.new_position is not null
        then 'written'
        else 'unchanged'
      end as fate,
      num_nonnulls(laid.known_artist_id, laid.known_confidence, laid.known_method) = 0 as is_first
    from laid
    offset 0
  )
  select
    array_agg(
      row(
        reached.credit_id,
        reached.version,
        case
          when reached.fate = 'unlinked' then 'unlinked'
          when reached.is_first then 'linked'
          else 'changed'
        end,
        reached.artist_id,
        case when reached.fate = 'written' then reached.confidence end,
        reached.new_position
      )::identity_sync.track_change
      order by reached.credit_id
    ) filter (where reached.fate in ('written', 'unlinked')),
    coalesce(array_agg(reached.credit_id) filter (where reached.fate = 'written' and reached.is_first), '{}'),
    coalesce(array_agg(reached.credit_id) filter (where reached.fate = 'written' and reached.new_position is not null), '{}'),
    jsonb_build_object(
      'written', count(*) filter (where reached.fate = 'written'),
      'unlinked', count(*) filter (where reached.fate = 'unlinked'),
      'unchanged', count(*) filter (where reached.fate = 'unchanged'),
      'librarian', count(*) filter (where reached.fate = 'librarian'),
      'no_cta_match', count(*) filter (where reached.fate = 'no_cta_match'),
      'no_resolved_name', count(*) filter (where reached.fate = 'no_resolved_name'),
      'unusable', count(*) filter (where reached.fate = 'unusable'),
      'no_catalog_artist', count(*) filter (where reached.fate in ('written', 'unchanged') and reached.artist_id is null),
      'ambiguous_position',
      count(*) filter (
        where reached.fate in ('written', 'unchanged') and reached.known_position is null and reached.ambiguous_position
      ),
      'position_written', count(*) filter (where reached.fate = 'written' and reached.new_position is not null),
      'confidence_out_of_range',
      count(*) filter (where reached.fate in ('written', 'unchanged') and reached.confidence_out_of_range)
    )
  into compared.changes, compared.linked, compared.positioned, compared.counts
  from reached;

  return compared;
end;
$$;

revoke all on function identity_sync.compare_track_links(identity_sync.judged_verdict[], jsonb) from public;

comment on function identity_sync.compare_track_links(identity_sync.judged_verdict[], jsonb) is
  'Takes judged compilations and LML''s results, which hold their tracks; returns the changes to their credits, in id order, and the counts of the report''s compilation_track.';
--! EndIncluded functions/compare_track_links.sql
--! Included functions/settle_compilation_tracks.sql
-- Links the tracks of compilations to the artists who play them: finds out what each entry would change, then issues one
-- UPDATE, and none where nothing changes. What a link was is kept in superseded_track_link; a librarian's is never touched,
-- and no column but the four of the link is named.
create or replace function identity_sync.settle_compilation_tracks(
  verdicts identity_sync.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync.settled_verdicts
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Credits are taken in id order, one by one through their key, whatever the planner makes of an array.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  by_hand constant boolean := starts_with(origin, 'repair:');
  settled identity_sync.settled_verdicts := identity_sync.add_settled(null, null);
  current identity_sync.judged_verdict[];
  compared identity_sync.compared_tracks;
  changed integer;
  touched integer;
begin
  -- Newer than this answer is an identity that is there, or the last answer that called the row a compilation.
  select
    array_agg(verdict) filter (where not listed.is_overtaken),
    coalesce(array_agg(verdict.library_id) filter (where listed.is_overtaken), '{}')
  into current, settled.stale_verdict
  from unnest(verdicts) as verdict
  left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
  left join identity_sync.attempt on attempt.library_id = verdict.library_id and attempt.outcome = 'compilation'
  cross join lateral (
    select
      not by_hand
      and greatest(known.last_verified_at, attempt.attempted_at, '-infinity') > settle_compilation_tracks.verified_at
      as is_overtaken
  ) as listed;

  if current is null then
    return settled;
  end if;

  compared := identity_sync.compare_track_links(current, results);
  settled.compilation_track := compared.counts;

  if compared.changes is not null then
    changed := cardinality(compared.changes);

    if changed > cardinality(compared.linked) then
      insert into identity_sync.superseded_track_link (
        settlement_id, credit_id, library_id, action,
        track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
      )
      select
        settle_compilation_tracks.settlement_id, known.id, known.library_id, change.action,
        known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
        format('verdict of %s, settlement %s', origin, settle_compilation_tracks.settlement_id)
      from unnest(compared.changes) as change
      join wxyc_schema.compilation_track_artist as known on known.id = change.credit_id
      where change.action <> 'linked';
      get diagnostics touched = row_count;
      perform identity_sync.expect_rows('track links kept', changed - cardinality(compared.linked), touched);
    end if;

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = change.track_artist_id,
      track_artist_link_confidence = change.confidence,
      track_artist_link_method = case when change.action <> 'unlinked' then 'lml_backfill' end,
      track_position = coalesce(known.track_position, change.new_position)
    from unnest(compared.changes) as change
    where known.id = change.credit_id and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync.expect_rows('track links written', changed, touched);

    settled.linked_credit_ids := compared.linked;
    settled.positioned_credit_ids := compared.positioned;

    -- A constraint that would speak only at the commit is heard here, where its culprit can still be found.
    set constraints all immediate;
  end if;

  return settled;
end;
$$;

revoke all on function identity_sync.settle_compilation_tracks(identity_sync.judged_verdict[], jsonb, text, timestamptz, bigint)
from public;

comment on function identity_sync.settle_compilation_tracks(identity_sync.judged_verdict[], jsonb, text, timestamptz, bigint) is
  'Takes judged compilations whose tracks were visited and whose libraries the caller has locked, LML''s results, and their origin, time and settlement; links their credits and returns the ids that were overtaken and the counts. Raises whatever the database refuses, and LS006 where credits were changed meanwhile.';
--! EndIncluded functions/settle_compilation_tracks.sql
