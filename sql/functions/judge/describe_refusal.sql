-- Words a refusal for a person: which field, what it holds or that it is missing, and what is allowed.
-- A value is cut to 200 characters, because one string may have megabytes.
create or replace function identity_sync_private.describe_refusal(path text, value jsonb, allowed text)
returns identity_sync_private.refusal
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    describe_refusal.path,
    case
      when char_length(describe_refusal.value::text) > 200 then to_jsonb(left(describe_refusal.value::text, 200) || '…')
      else describe_refusal.value
    end,
    format(
      '%s is %s; allowed: %s',
      coalesce(nullif(describe_refusal.path, ''), 'the verdict'),
      case
        when describe_refusal.value is null then 'missing'
        when char_length(describe_refusal.value::text) > 200 then left(describe_refusal.value::text, 200) || '…'
        else describe_refusal.value::text
      end,
      describe_refusal.allowed
    )
  )::identity_sync_private.refusal;
$$;

revoke all on function identity_sync_private.describe_refusal(text, jsonb, text) from public;

comment on function identity_sync_private.describe_refusal(text, jsonb, text) is
  'Takes a field''s path, its value (NULL: missing) and what is allowed; returns the refusal in words, the value cut to 200 characters.';
