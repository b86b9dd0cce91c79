-- A joined run keeps its own settings. The caller is told so, and which of the settings asked for are in vain: a notice
-- reaches psql, a program and a log alike.
create or replace function identity_sync_private.tell_of_joined_run(run_id bigint, asked jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  joined identity_sync.run;
  differences text;
begin
  select run.*
  into strict joined
  from identity_sync.run
  where run.run_id = tell_of_joined_run.run_id;

  select
    string_agg(
      format('%s %s (asked: %s)', kept.key, coalesce(kept.value, 'none'), coalesce(asked ->> kept.key, 'none')), ', '
      order by kept.key
    )
  into differences
  from jsonb_each_text(
    to_jsonb(joined)
    || jsonb_build_object(
      'deadline_minutes', round(extract(epoch from joined.deadline_at - joined.started_at) / 60)::integer
    )
  ) as kept
  where asked ? kept.key and kept.value is distinct from asked ->> kept.key;

  if differences is null then
    raise notice using
      errcode = 'LS008',
      message = format('run %s is open, and is joined (opened by %s)', run_id, joined.opened_by);
  else
    raise warning using
      errcode = 'LS008',
      message = format(
        'run %s is open, and is joined (opened by %s). It keeps its own settings: %s',
        run_id, joined.opened_by, differences
      ),
      hint = 'Wait until it is over, or stop it, and run again.';
  end if;
end;
$$;

revoke all on function identity_sync_private.tell_of_joined_run(bigint, jsonb) from public;

comment on function identity_sync_private.tell_of_joined_run(bigint, jsonb) is
  'Takes an open run and the settings asked for by their names; tells in a notice that it is joined, in a warning where it keeps others.';
