-- Lists what is in quarantine, the latest refusal first: all of it, or what a run or some libraries have there.
create or replace function identity_sync.identity_quarantine(run_id bigint default null, ids integer[] default null)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        to_jsonb(entry) || jsonb_build_object('artist_name', library.artist_name, 'album_title', library.album_title)
        order by entry.quarantined_at desc, entry.quarantine_id desc
      ),
      '[]'
    )
  from identity_sync.quarantine as entry
  left join wxyc_schema.library on library.id = entry.library_id
  where (identity_quarantine.run_id is null or entry.run_id = identity_quarantine.run_id)
    and (identity_quarantine.ids is null or entry.library_id = any (identity_quarantine.ids));
$$;

revoke all on function identity_sync.identity_quarantine(bigint, integer[]) from public;

comment on function identity_sync.identity_quarantine(bigint, integer[]) is
  'Takes a run and library ids to narrow it to (NULL: every run, every library); returns an array of the entries of the view quarantine with the artist and title they are filed under, the latest first.';
