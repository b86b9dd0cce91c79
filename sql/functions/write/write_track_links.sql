-- Links the tracks of compilations to the artists who play them: compares, then issues one UPDATE, and none where
-- nothing changes. What a link was is kept in superseded_track_link; a librarian's is never touched, and no column but
-- the four of the link is named.
create or replace function identity_sync_private.write_track_links(
  verdicts identity_sync_private.judged_verdict[],
  results jsonb,
  origin text,
  verified_at timestamptz,
  settlement_id bigint
)
returns identity_sync_private.write_result
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- Credits are taken in id order, one by one through their key, however many rows the planner expects of an array.
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  is_repair constant boolean := identity_sync_private.is_repair(origin);
  -- What a person says of a track holds, as a librarian's link does.
  link_method constant text := case when is_repair then 'librarian' else 'lml_backfill' end;
  written identity_sync_private.write_result := identity_sync_private.add_write_results(null, null);
  current identity_sync_private.judged_verdict[];
  compared identity_sync_private.compared_tracks;
  changed integer;
  touched integer;
begin
  -- Newer than this answer is an identity that is there, or the last answer that called the row a compilation.
  select
    array_agg(verdict) filter (where not listed.is_overtaken),
    array_agg(identity_sync_private.conclude_verdict(verdict, 'stale_verdict')) filter (where listed.is_overtaken)
  into current, written.verdicts
  from unnest(verdicts) as verdict
  left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
  left join identity_sync.attempt
    on attempt.library_id = verdict.library_id and attempt.outcome in ('compilation', 'compilation_unread')
  cross join lateral (
    select
      not is_repair
      and exists (
        select from unnest(array[known.last_verified_at, attempt.attempted_at]) as seen (at)
        where seen.at > write_track_links.verified_at and identity_sync_private.is_plausible_time(seen.at)
      ) as is_overtaken
  ) as listed;

  if current is null then
    return written;
  end if;
  written.verdicts := written.verdicts || current;

  compared := identity_sync_private.compare_track_links(current, results, link_method);
  written.compilation_track := compared.counts;

  if compared.changes is not null then
    changed := cardinality(compared.changes);

    if changed > cardinality(compared.linked) then
      insert into identity_sync.superseded_track_link (
        settlement_id, credit_id, library_id, action,
        track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
      )
      select
        write_track_links.settlement_id, known.id, known.library_id, change.action,
        known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
        format('verdict of %s, settlement %s', origin, write_track_links.settlement_id)
      from unnest(compared.changes) as change
      join wxyc_schema.compilation_track_artist as known on known.id = change.credit_id
      where change.action <> 'linked';
      get diagnostics touched = row_count;
      perform identity_sync_private.assert_row_count(
        'track links kept', changed - cardinality(compared.linked), touched
      );
    end if;

    -- "is true" keeps the comparison of versions a filter, which PostgreSQL repeats on a row that it had to wait for.
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = change.track_artist_id,
      track_artist_link_confidence = change.confidence,
      track_artist_link_method = case when change.action <> 'unlinked' or is_repair then link_method end,
      track_position = coalesce(known.track_position, change.new_position)
    from unnest(compared.changes) as change
    where known.id = change.credit_id and (known.ctid = change.version) is true;
    get diagnostics touched = row_count;
    perform identity_sync_private.assert_row_count('track links written', changed, touched);

    written.written_by := array(
      select known.xmin
      from wxyc_schema.compilation_track_artist as known
      where known.id = compared.changes[1].credit_id
    );
    written.linked_credit_ids := compared.linked;
    written.positioned_credit_ids := compared.positioned;

    -- Check deferred constraints now, while bisection can still isolate the offending verdict.
    set constraints all immediate;
  end if;

  return written;
end;
$$;

revoke all on function identity_sync_private.write_track_links(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint
) from public;

comment on function identity_sync_private.write_track_links(
  identity_sync_private.judged_verdict[], jsonb, text, timestamptz, bigint
) is
  'Takes judged compilations whose tracks were visited and whose libraries the caller has locked, LML''s results, and their origin, time and settlement; links their credits and returns them with their final outcomes, and the counts. Raises what the database refuses, and LS006 where another writer or a trigger interfered.';
