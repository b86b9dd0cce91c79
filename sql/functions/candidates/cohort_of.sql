-- A library row is compilation-shaped where its shelf letters begin with Z or compilation_track_artist credits it.
-- LML answers such rows at length, so their batches are smaller.
create or replace function identity_sync_private.cohort_of(code_volume_letters text, has_credits boolean)
returns text
language sql immutable parallel safe
return case when coalesce(code_volume_letters, '') like 'Z%' or has_credits then 'va' else 'non_va' end;

revoke all on function identity_sync_private.cohort_of(text, boolean) from public;

comment on function identity_sync_private.cohort_of(text, boolean) is
  'Takes a library row''s code_volume_letters and whether it has credits; returns va for compilation-shaped, else non_va.';
