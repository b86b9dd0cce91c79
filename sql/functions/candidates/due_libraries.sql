-- Finds the libraries that are due: never asked, with an attempt that has run out, or with a stale identity.
-- A time ahead of the clock holds nothing back. Each kind is looked for where it is rare, so that planning a large
-- catalogue with little due reads two indexes; names are looked at by identity_candidates.
create or replace function identity_sync_private.due_libraries(
  stale_before timestamptz,
  retry_before timestamptz,
  include_null_canonical boolean
)
returns setof integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select library.id
  from wxyc_schema.library
  where (library.canonical_entity_id is not null or include_null_canonical)
    and not exists (select from wxyc_schema.library_identity as identity where identity.library_id = library.id)
    and not exists (select from identity_sync.attempt where attempt.library_id = library.id)

  union all
  select attempt.library_id
  from identity_sync.attempt
  join wxyc_schema.library on library.id = attempt.library_id
  left join wxyc_schema.library_identity as identity on identity.library_id = attempt.library_id
  where attempt.outcome = 'released'
    or attempt.outcome <> 'held'
    and (
      (
        attempt.attempted_at <= case
          when attempt.outcome in ('manual_precedence', 'compilation_unread') then stale_before
          else retry_before
        end
        or not identity_sync_private.is_plausible_time(attempt.attempted_at)
        -- What a person had set went with its row, or to another library.
        or attempt.outcome = 'manual_precedence' and identity.library_id is null
      )
      and case
        when identity.library_id is null then library.canonical_entity_id is not null or include_null_canonical
        else identity.last_verified_at <= stale_before
          or not identity_sync_private.is_plausible_time(identity.last_verified_at)
      end
    )

  union all
  select identity.library_id
  from wxyc_schema.library_identity as identity
  where (
      identity.last_verified_at <= stale_before
      or not identity_sync_private.is_plausible_time(identity.last_verified_at)
    )
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id);
end;
$$;

revoke all on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean) from public;

comment on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean) is
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count; returns the ids of the libraries that are due.';
