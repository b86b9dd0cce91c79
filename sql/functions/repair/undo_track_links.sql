-- Makes credits what they were before a settlement linked them. A credit that anybody has touched since stays; what
-- goes is kept first, as by the writer.
create or replace function identity_sync_private.undo_track_links(
  settlement_id bigint,
  ids integer[],
  undone_by xid[],
  undo_settlement_id bigint,
  reason text,
  out restored_library_ids integer[],
  out restored integer,
  out newer integer,
  out held integer
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  this_settlement identity_sync.settlement;
  credit_ids integer[];
begin
  select settlement.*
  into strict this_settlement
  from identity_sync.settlement
  where settlement.settlement_id = undo_track_links.settlement_id;

  select
    array_agg(known.id order by known.id) filter (where moved.fate = 'undone'),
    count(*) filter (where moved.fate = 'newer'),
    count(*) filter (where moved.fate = 'held')
  into credit_ids, newer, held
  from (
    select unnest(this_settlement.linked_credit_ids) as credit_id
    union
    select superseded.credit_id
    from identity_sync.superseded_track_link as superseded
    where superseded.settlement_id = undo_track_links.settlement_id
  ) as written
  join wxyc_schema.compilation_track_artist as known on known.id = written.credit_id
  left join identity_sync.attempt on attempt.library_id = known.library_id and attempt.outcome = 'held'
  cross join lateral (
    select
      case
        when known.xmin = any (undone_by) then 'undone before'
        when attempt.library_id is not null then 'held'
        when known.xmin = any (this_settlement.written_by) then 'undone'
        when known.track_artist_link_method = 'librarian' then 'held'
        else 'newer'
      end as fate
  ) as moved
  where ids is null or known.library_id = any (ids);

  -- An update that touches no row would fire the station's triggers all the same.
  restored := 0;
  restored_library_ids := '{}';
  if credit_ids is null then
    return;
  end if;

  insert into identity_sync.superseded_track_link (
    settlement_id, credit_id, library_id, action,
    track_artist_id, track_artist_link_confidence, track_artist_link_method, track_position, superseded_reason
  )
  select
    undo_settlement_id, known.id, known.library_id,
    case when before.credit_id is null then 'unlinked' else 'changed' end,
    known.track_artist_id, known.track_artist_link_confidence, known.track_artist_link_method, known.track_position,
    undo_track_links.reason
  from wxyc_schema.compilation_track_artist as known
  left join identity_sync.superseded_track_link as before
    on before.settlement_id = undo_track_links.settlement_id and before.credit_id = known.id
  where known.id = any (credit_ids);

  with kept as (
    select
      undone.credit_id,
      before.track_artist_id,
      before.track_artist_link_confidence,
      before.track_artist_link_method,
      case
        when before.credit_id is not null then before.track_position
        when undone.credit_id <> all (this_settlement.positioned_credit_ids) then known.track_position
      end as track_position
    from unnest(credit_ids) as undone (credit_id)
    join wxyc_schema.compilation_track_artist as known on known.id = undone.credit_id
    left join identity_sync.superseded_track_link as before
      on before.settlement_id = undo_track_links.settlement_id and before.credit_id = undone.credit_id
  ),
  undone as (
    update wxyc_schema.compilation_track_artist as known
    set
      track_artist_id = kept.track_artist_id,
      track_artist_link_confidence = kept.track_artist_link_confidence,
      track_artist_link_method = kept.track_artist_link_method,
      track_position = kept.track_position
    from kept
    where known.id = kept.credit_id
    returning known.library_id
  )
  select count(*), array_agg(distinct undone.library_id)
  into restored, restored_library_ids
  from undone;
end;
$$;

revoke all on function identity_sync_private.undo_track_links(bigint, integer[], xid[], bigint, text) from public;

comment on function identity_sync_private.undo_track_links(bigint, integer[], xid[], bigint, text) is
  'Takes a settlement, the libraries to undo (NULL: all), the transactions of earlier undos of it, the settlement of this undo and its reason; returns the libraries and the number of credits restored, and how many were changed since, or are held by a librarian.';
