-- Whether LML has answered some part of a batch that was cut: then it is an input that is at fault, and not LML.
-- A part that was poisoned counts too: it was singled out because others were answered.
create or replace function identity_sync_private.has_answered_part(root_batch_id bigint)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from identity_sync.batch as part
    where part.root_batch_id = has_answered_part.root_batch_id and part.state = 'applied'
  );
$$;

revoke all on function identity_sync_private.has_answered_part(bigint) from public;

comment on function identity_sync_private.has_answered_part(bigint) is
  'Takes a batch as it was planned (NULL: none); returns whether a part of it is settled.';
