-- Lays judged verdicts beside their main rows and decides what becomes of each, writing nothing: a row set by hand or
-- verified later takes precedence. A repair changes a row that no hand has set yet even where it says the same, because
-- only then does the row hold. Every verdict comes back once, with its final outcome.
create or replace function identity_sync_private.compare_identities(
  verdicts identity_sync_private.judged_verdict[],
  verified_at timestamptz,
  is_repair boolean
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  ids constant integer[] := array(select verdict.library_id from unnest(verdicts) as verdict);
begin
  -- A first run's batches are new as a whole, and there is nothing to compare them with.
  if not exists (select from wxyc_schema.library_identity as known where known.library_id = any (ids)) then
    return array(
      select identity_sync_private.conclude_verdict(verdict, 'resolved', 'inserted')
      from unnest(verdicts) as verdict
    );
  end if;

  return array(
    select
      identity_sync_private.conclude_verdict(
        verdict,
        case when compared.fate in ('manual_precedence', 'stale_verdict') then compared.fate else 'resolved' end,
        case when compared.fate in ('inserted', 'changed', 'unchanged') then compared.fate end,
        -- A row that says the same is touched only where it was verified before, or at an unknown time.
        case
          when compared.fate = 'changed' then known.ctid
          when compared.fate = 'unchanged'
            and (
              known.last_verified_at < compare_identities.verified_at
              or not identity_sync_private.is_plausible_time(known.last_verified_at)
            )
          then known.ctid
        end
      )
    from unnest(verdicts) as verdict
    left join wxyc_schema.library_identity as known on known.library_id = verdict.library_id
    cross join lateral (
      select
        case
          when known.library_id is null then 'inserted'
          when not is_repair and identity_sync_private.is_set_by_hand(known.method, known.notes)
          then 'manual_precedence'
          when is_repair and identity_sync_private.is_set_by_hand(known.method, known.notes) is not true then 'changed'
          when not is_repair
            and known.last_verified_at > compare_identities.verified_at
            and identity_sync_private.is_plausible_time(known.last_verified_at)
          then 'stale_verdict'
          when known.discogs_artist_id is distinct from verdict.discogs_artist_id
            or known.musicbrainz_artist_id is distinct from verdict.musicbrainz_artist_id
            or known.wikidata_qid is distinct from verdict.wikidata_qid
            or known.spotify_id is distinct from verdict.spotify_id
            or known.apple_music_id is distinct from verdict.apple_music_id
            or known.bandcamp_id is distinct from verdict.bandcamp_id
            or known.method is distinct from verdict.method
            or known.confidence is distinct from verdict.confidence
          then 'changed'
          else 'unchanged'
        end as fate
      -- The fence: without it the planner repeats the comparison wherever the fate is used.
      offset 0
    ) as compared
  );
end;
$$;

revoke all on function identity_sync_private.compare_identities(
  identity_sync_private.judged_verdict[], timestamptz, boolean
) from public;

comment on function identity_sync_private.compare_identities(
  identity_sync_private.judged_verdict[], timestamptz, boolean
) is
  'Takes judged single_artist verdicts, their time and whether a repair by hand brings them; returns them with outcome (resolved, manual_precedence, stale_verdict), action and version.';
