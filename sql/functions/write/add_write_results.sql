-- Two shares of a batch as one: lists are joined, counts are summed.
-- NULL stands for a share of which nothing was written, so that two of them make the empty result.
create or replace function identity_sync_private.add_write_results(
  earlier identity_sync_private.write_result,
  later identity_sync_private.write_result
)
returns identity_sync_private.write_result
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    coalesce(earlier.verdicts, '{}') || later.verdicts,
    coalesce(earlier.history_ids, '{}') || later.history_ids,
    coalesce(earlier.source_inserted, 0) + coalesce(later.source_inserted, 0),
    coalesce(earlier.source_changed, 0) + coalesce(later.source_changed, 0),
    coalesce(earlier.source_unchanged, 0) + coalesce(later.source_unchanged, 0),
    coalesce(earlier.source_removed, 0) + coalesce(later.source_removed, 0),
    coalesce(earlier.linked_credit_ids, '{}') || later.linked_credit_ids,
    coalesce(earlier.positioned_credit_ids, '{}') || later.positioned_credit_ids,
    identity_sync_private.add_reports(
      coalesce(earlier.compilation_track, identity_sync_private.empty_report() -> 'compilation_track'),
      later.compilation_track
    ),
    coalesce(earlier.written_by, '{}') || later.written_by
  )::identity_sync_private.write_result;
$$;

revoke all on function identity_sync_private.add_write_results(
  identity_sync_private.write_result, identity_sync_private.write_result
) from public;

comment on function identity_sync_private.add_write_results(
  identity_sync_private.write_result, identity_sync_private.write_result
) is
  'Takes the results of writing two shares of a batch, either NULL; returns them as one.';
