-- The keys of an object and of the objects in it, as one sorted list: two reports can be added where their shapes are
-- equal.
create or replace function identity_sync_private.jsonb_shape(value jsonb)
returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select
    array_agg(
      case when inner_entry.key is null then entry.key else entry.key || '.' || inner_entry.key end
        || ':' || jsonb_typeof(coalesce(inner_entry.value, entry.value))
      order by entry.key, inner_entry.key
    )
  from jsonb_each(case when jsonb_typeof(value) = 'object' then value else '{}' end) as entry
  left join lateral jsonb_each(
    case when jsonb_typeof(entry.value) = 'object' then entry.value else '{}' end
  ) as inner_entry on true;
$$;

revoke all on function identity_sync_private.jsonb_shape(jsonb) from public;

comment on function identity_sync_private.jsonb_shape(jsonb) is
  'Takes an object of scalars and of objects of scalars; returns its keys with their types, sorted; NULL for an empty object or any other value.';
