-- Finds what of a settlement can be taken back, writing nothing. A row was changed since where its transaction (xmin)
-- is none of ours, or where another run wrote the library later: it is newer, or held where a person holds it. What an
-- earlier undo has taken back is left out.
create or replace function identity_sync_private.find_undoable(
  settlement_id bigint,
  ids integer[],
  written_later integer[],
  undone_before integer[],
  ours xid[]
)
returns identity_sync_private.undoing[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  this_settlement identity_sync.settlement;
begin
  select settlement.*
  into strict this_settlement
  from identity_sync.settlement
  where settlement.settlement_id = find_undoable.settlement_id;

  return array(
    with written as materialized (
      select
        listed.library_id,
        inserted.library_id is not null as was_absent,
        case when history.is_its_own then history.history_id end as history_id,
        history.is_its_own and history.reason_category in ('release', 'undo') as may_be_gone,
        inserted.library_id is null and not history.is_its_own as is_merged_into
      from identity_sync_private.libraries_written(find_undoable.settlement_id) as listed (library_id)
      left join unnest(this_settlement.inserted_ids) as inserted (library_id) on inserted.library_id = listed.library_id
      -- A merge moves history to the record that stays: it is not what that was.
      left join (
        select distinct on (archived.library_id)
          archived.library_id, kept.history_id, archived.reason_category,
          archived.xmin = any (this_settlement.written_by) as is_its_own
        from unnest(this_settlement.history_ids) as kept (history_id)
        join wxyc_schema.library_identity_history as archived on archived.history_id = kept.history_id
        order by archived.library_id, is_its_own desc
      ) as history on history.library_id = listed.library_id
      left join unnest(undone_before) as undone (library_id) on undone.library_id = listed.library_id
      where undone.library_id is null and (ids is null or listed.library_id = any (ids))
    ),
    -- Source rows that are not as this settlement left them.
    moved as materialized (
      select superseded.library_id
      from identity_sync.superseded_source as superseded
      left join wxyc_schema.library_identity_source as known
        on known.library_id = superseded.library_id and known.source = superseded.source
      where superseded.settlement_id = find_undoable.settlement_id
        and case superseded.action
          when 'removed' then known.library_id is not null
          else (known.xmin = any (this_settlement.written_by)) is not true
        end
      union all
      select known.library_id
      from written
      join wxyc_schema.library_identity_source as known on known.library_id = written.library_id
      where written.was_absent
        and known.xmin <> all (this_settlement.written_by)
        and known.xmin <> all (ours)
        and identity_sync_private.is_ours(known.notes)
    )
    select
      row(
        written.library_id,
        written.was_absent,
        written.history_id,
        known.library_id is not null,
        case
          when later.library_id is null
            and moved.library_id is null
            and written.is_merged_into is not true
            and case
              when known.library_id is null
              then written.may_be_gone
                and exists (select from wxyc_schema.library where library.id = written.library_id)
              -- Nearly all rows are as this settlement left them, and need no look at the longer list.
              else (
                  known.xmin = any (this_settlement.written_by)
                  or known.xmin = any (ours)
                  -- A verdict of the same time that changed sources alone left the main row as an earlier one of ours.
                  or not written.was_absent
                    and written.history_id is null
                    and known.xmin in (
                      select unnest(earlier.written_by)
                      from identity_sync.settlement as earlier
                      where earlier.settled_at < this_settlement.settled_at
                    )
                )
                and not (
                  written.was_absent
                  and num_nonnulls(
                    known.discogs_master_id, known.discogs_release_id, known.musicbrainz_release_group_mbid,
                    known.musicbrainz_release_mbid, known.musicbrainz_recording_mbid, known.agreement_sources
                  ) > 0
                )
            end
          then 'undone'
          when identity_sync_private.is_set_by_hand(known.method, known.notes) then 'held'
          else 'newer'
        end
      )::identity_sync_private.undoing
    from written
    left join wxyc_schema.library_identity as known on known.library_id = written.library_id
    left join unnest(written_later) as later (library_id) on later.library_id = written.library_id
    left join (select distinct moved.library_id from moved) as moved on moved.library_id = written.library_id
  );
end;
$$;

revoke all on function identity_sync_private.find_undoable(bigint, integer[], integer[], integer[], xid[]) from public;

comment on function identity_sync_private.find_undoable(bigint, integer[], integer[], integer[], xid[]) is
  'Takes a settlement, the libraries to undo (NULL: all), those that other runs wrote later, those that an undo has taken back, and the transactions of our own since; returns the libraries written, each with its fate.';
