-- Makes the request of a batch and keeps with the batch what it asks: a fingerprint of each row's name and title. Both
-- are read in one statement, so that a row renamed meanwhile is renamed for both or for neither.
create or replace function identity_sync_private.compose_batch_request(batch_id bigint)
returns text
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set asked_as = identity_sync_private.current_fingerprints(batch.library_ids)
  where batch.batch_id = compose_batch_request.batch_id
  returning identity_sync.identity_batch_request(batch.batch_id);
$$;

revoke all on function identity_sync_private.compose_batch_request(bigint) from public;

comment on function identity_sync_private.compose_batch_request(bigint) is
  'Takes a batch; returns the JSON text to POST to LML for it, NULL where no row is left to request.';
