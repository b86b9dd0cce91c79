-- The latest refusals as a page shows them: the verdict as it came, in three pieces of which the second is the field at
-- fault. Cutting the text here keeps LML's answer out of the program's hands.
create or replace function identity_sync_private.latest_refusals(entries integer)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'quarantine_id', entry.quarantine_id,
          'library_id', entry.library_id,
          'artist_name', library.artist_name,
          'album_title', library.album_title,
          'run_id', entry.run_id,
          'outcome', entry.outcome,
          'field', coalesce(entry.path, entry.constraint_name),
          'sqlstate', entry.sqlstate,
          'reason', coalesce(entry.message, entry.reason),
          'quarantined_at', entry.quarantined_at,
          'before', right(cut.before, 2000),
          'at_fault', left(cut.at_fault, 500),
          'after', left(cut.after, 2000),
          'is_cut', length(cut.before) > 2000 or length(cut.at_fault) > 500 or length(cut.after) > 2000
        )
        order by entry.quarantine_id desc
      ),
      '[]'
    )
  from (
    select quarantine.*, stored.verdict as document
    from identity_sync.quarantine
    join identity_sync.quarantined_verdict as stored on stored.quarantine_id = quarantine.quarantine_id
    order by quarantine.quarantine_id desc
    limit latest_refusals.entries
  ) as entry
  left join wxyc_schema.library on library.id = entry.library_id
  cross join lateral (
    select
      string_to_array(translate(replace(entry.path, '[', '.'), ']', ''), '.') as path,
      -- A text that no verdict holds, put where the field stands and cut out again.
      gen_random_uuid()::text as mark
  ) as fault
  cross join lateral (
    select jsonb_pretty(jsonb_set(entry.document, fault.path, to_jsonb(fault.mark), false)) as text
  ) as marked
  cross join lateral (
    select
      case
        when marked.text is null then coalesce(jsonb_pretty(entry.document), entry.verdict)
        else split_part(marked.text, format('"%s"', fault.mark), 1)
      end as before,
      case
        when strpos(marked.text, fault.mark) > 0 then jsonb_pretty(entry.document #> fault.path)
      end as at_fault,
      split_part(marked.text, format('"%s"', fault.mark), 2) as after
  ) as cut;
$$;

revoke all on function identity_sync_private.latest_refusals(integer) from public;

comment on function identity_sync_private.latest_refusals(integer) is
  'Takes how many; returns the latest open entries of the quarantine with the verdict in the pieces before, at_fault (NULL where it holds no such field) and after, each cut to a few thousand characters.';
