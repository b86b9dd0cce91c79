-- Where LML broke its own contract in its answer for a batch: this goes to the log and to Sentry, since only LML can
-- mend it.
create or replace function identity_sync_private.contract_breaches(batch_id bigint)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(skipped.key, skipped.value)
  from identity_sync.settlement
  cross join lateral jsonb_each(settlement.report -> 'rows_skipped') as skipped
  where settlement.batch_id = contract_breaches.batch_id
    and skipped.key in ('invalid_verdict', 'lml_cardinality_mismatch', 'lml_untrusted_library_id')
    and skipped.value <> '0';
$$;

revoke all on function identity_sync_private.contract_breaches(bigint) from public;

comment on function identity_sync_private.contract_breaches(bigint) is
  'Takes an applied batch; returns the number of results that broke the wire contract by key of rows_skipped, NULL where none did.';
