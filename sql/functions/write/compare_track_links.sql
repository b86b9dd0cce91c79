-- Lays the judged tracks of compilations beside their credits and finds what each would change, writing nothing.
-- An entry joins the credit with exactly its artist_name and track_title; its artist is the one whose name folds as the
-- resolved name does. Each key and unusable entry is in one of the first seven counts, the others are "of which".
create or replace function identity_sync_private.compare_track_links(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  link_method text
)
returns identity_sync_private.compared_tracks
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- One hash join of all entries with all credits, however many rows the planner expects of arrays and of empty tables.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  library_ids constant integer[] := array(select verdict.library_id from unnest(verdicts) as verdict);
  -- What a repair has linked looks like a librarian's link, and a repair may correct it.
  repaired_ids constant integer[] := case
    when link_method = 'librarian' then identity_sync_private.repaired_credits(library_ids) else '{}'
  end;
  compared identity_sync_private.compared_tracks;
begin
  with entry as materialized (
    select verdict.library_id, track.*
    from unnest(verdicts) as verdict
    cross join lateral unnest(
      identity_sync_private.judge_tracks(compare_track_links.results #> array[(verdict.ordinal - 1)::text, 'tracks'])
    ) as track
  ),
  -- Several artists with one fold are ambiguous, and none of them is meant.
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
    where known.library_id = any (library_ids)
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
      num_nonnulls(credit.track_artist_id, credit.track_artist_link_confidence) = 0 as is_empty,
      credit.track_artist_link_method = 'librarian' and credit.id <> all (repaired_ids) as is_librarians,
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
        when laid.is_librarians then 'librarian'
        when laid.resolved_artist_name is null
          and (laid.known_method = 'lml_backfill' or laid.known_method = 'librarian' and not laid.is_empty)
        then 'unlinked'
        when laid.resolved_artist_name is null
        then case laid.known_method when 'librarian' then 'librarian' else 'no_resolved_name' end
        when laid.known_method is distinct from compare_track_links.link_method
          or laid.known_artist_id is distinct from laid.artist_id
          or laid.known_confidence is distinct from laid.confidence
          or laid.new_position is not null
        then 'written'
        when laid.known_method = 'librarian' then 'librarian'
        else 'unchanged'
      end as fate,
      laid.is_empty and laid.known_method is null as is_first
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
        case when reached.fate = 'written' then reached.new_position end
      )::identity_sync_private.track_change
      order by reached.credit_id
    ) filter (where reached.fate in ('written', 'unlinked')),
    coalesce(array_agg(reached.credit_id) filter (where reached.fate = 'written' and reached.is_first), '{}'),
    coalesce(
      array_agg(reached.credit_id) filter (where reached.fate = 'written' and reached.new_position is not null), '{}'
    ),
    jsonb_build_object(
      'written', count(*) filter (where reached.fate = 'written'),
      'unlinked', count(*) filter (where reached.fate = 'unlinked'),
      'unchanged', count(*) filter (where reached.fate = 'unchanged'),
      'librarian', count(*) filter (where reached.fate = 'librarian'),
      'no_cta_match', count(*) filter (where reached.fate = 'no_cta_match'),
      'no_resolved_name', count(*) filter (where reached.fate = 'no_resolved_name'),
      'unusable', count(*) filter (where reached.fate = 'unusable'),
      'no_catalog_artist',
      count(*) filter (where reached.fate in ('written', 'unchanged') and reached.artist_id is null),
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

revoke all on function identity_sync_private.compare_track_links(
  identity_sync_private.judged_verdict[], jsonb, text
) from public;

comment on function identity_sync_private.compare_track_links(
  identity_sync_private.judged_verdict[], jsonb, text
) is
  'Takes judged compilations, LML''s results, which hold their tracks, and the method that their links get; returns the changes to their credits, in id order, and the counts of the report''s compilation_track.';
