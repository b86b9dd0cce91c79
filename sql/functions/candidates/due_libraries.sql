-- Finds the libraries that are due and why: never asked, released, in vain long enough ago, with a stale identity, or
-- asked by another name than they have now, which may come on top. A time ahead of the clock holds nothing back. Each
-- kind is looked for where it is rare, in a statement of its own, so that PostgreSQL may read in parallel.
create or replace function identity_sync_private.due_libraries(
  stale_before timestamptz,
  retry_before timestamptz,
  include_null_canonical boolean,
  library_ids integer[] default null
)
returns table (library_id integer, reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- A plan for all libraries is no plan for one.
set plan_cache_mode = force_custom_plan
-- The indexes bring the rows in the order of their ids, so that they need only be merged. Hashing a million of them
-- takes twice the processor's time.
set enable_hashjoin = off
set jit = off
set work_mem = '64MB'
as $$
begin
  return query
  select asked_as.library_id, 'renamed'
  from identity_sync.asked_as
  join wxyc_schema.library on library.id = asked_as.library_id
  where asked_as.fingerprint
      is distinct from identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title)
    and (library_ids is null or asked_as.library_id = any (library_ids));

  return query
  select library.id, 'never_asked'
  from wxyc_schema.library
  where (library.canonical_entity_id is not null or include_null_canonical)
    and not exists (select from wxyc_schema.library_identity as identity where identity.library_id = library.id)
    and not exists (select from identity_sync.attempt where attempt.library_id = library.id)
    and (library_ids is null or library.id = any (library_ids))

  union all
  select attempt.library_id, case attempt.outcome when 'released' then 'released' else 'in_vain' end
  from identity_sync.attempt
  join wxyc_schema.library on library.id = attempt.library_id
  left join wxyc_schema.library_identity as identity on identity.library_id = attempt.library_id
  where (library_ids is null or attempt.library_id = any (library_ids))
    and (
      attempt.outcome = 'released'
      or attempt.outcome <> 'held'
      and (
        attempt.attempted_at <= case
          when identity_sync_private.is_short_attempt(attempt.outcome) then stale_before
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
  select identity.library_id, 'stale'
  from wxyc_schema.library_identity as identity
  where (
      identity.last_verified_at <= stale_before
      or not identity_sync_private.is_plausible_time(identity.last_verified_at)
    )
    and not exists (select from identity_sync.attempt where attempt.library_id = identity.library_id)
    and (library_ids is null or identity.library_id = any (library_ids));
end;
$$;

revoke all on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) from public;

comment on function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean, integer[]) is
  'Takes the times before which an identity is stale and an attempt has run out, and whether rows without a canonical entity count, and the library ids to look at (NULL: all); returns the libraries that are due and why (never_asked, released, in_vain, stale, or renamed, also of one that is due for another reason).';
