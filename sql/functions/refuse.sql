-- Words a refusal: which field, what it holds (shortened), what is allowed.
-- A field that is missing is said to be missing.
create or replace function identity_sync.refuse(path text, value jsonb, allowed text)
returns identity_sync.refusal
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    refuse.path,
    case
      when char_length(refuse.value::text) > 200 then to_jsonb(left(refuse.value::text, 200) || '…')
      else refuse.value
    end,
    format(
      '%s is %s; allowed: %s',
      coalesce(nullif(refuse.path, ''), 'the verdict'),
      case
        when refuse.value is null then 'missing'
        when char_length(refuse.value::text) > 200 then left(refuse.value::text, 200) || '…'
        else refuse.value::text
      end,
      refuse.allowed
    )
  )::identity_sync.refusal;
$$;

revoke all on function identity_sync.refuse(text, jsonb, text) from public;

comment on function identity_sync.refuse(text, jsonb, text) is
  'Takes a field''s path, its value (NULL: missing) and what is allowed; returns the refusal in words, the value cut to 200 characters.';
