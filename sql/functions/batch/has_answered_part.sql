-- Whether LML has answered a part of a batch that was cut: then an input is at fault, and not LML. A part that was
-- refused (poisoned) or had nothing to request (empty) is no answer.
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
  'Takes a batch as it was planned (NULL: none); returns whether LML answered a part of it with 200.';
