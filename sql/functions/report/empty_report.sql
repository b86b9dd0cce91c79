-- The one place where the report's keys are written down. Every count is added to this report, so every key is always
-- there.
create or replace function identity_sync_private.empty_report()
returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select '{
    "scanned": 0,
    "rows_resolved": 0,
    "rows_resolved_compilation": 0,
    "rows_unresolved": 0,
    "rows_skipped": {
      "compilation": 0,
      "lml_error": 0,
      "writer_error": 0,
      "lml_cardinality_mismatch": 0,
      "lml_untrusted_library_id": 0,
      "invalid_verdict": 0,
      "manual_precedence": 0,
      "stale_verdict": 0,
      "library_gone": 0,
      "poison_input": 0
    },
    "source_rows_skipped_null_confidence": 0,
    "source_rows_skipped_duplicate": 0,
    "source_rows_out_of_band": 0,
    "source_rows_unknown": 0,
    "identity": {"inserted": 0, "changed": 0, "unchanged": 0},
    "source": {"inserted": 0, "changed": 0, "unchanged": 0, "removed": 0},
    "compilation_track": {
      "written": 0, "unlinked": 0, "unchanged": 0, "librarian": 0,
      "no_cta_match": 0, "no_resolved_name": 0, "unusable": 0,
      "no_catalog_artist": 0, "ambiguous_position": 0, "position_written": 0, "confidence_out_of_range": 0
    }
  }'::jsonb;
$$;

revoke all on function identity_sync_private.empty_report() from public;

comment on function identity_sync_private.empty_report() is
  'Returns the report with every key of the contract at 0.';
