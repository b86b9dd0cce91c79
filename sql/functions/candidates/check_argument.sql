-- Refuses an argument in the words that every public function shares: which one, its value and what is allowed.
create or replace function identity_sync_private.check_argument(
  argument text,
  value text,
  is_allowed boolean,
  allowed text
)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if is_allowed is not true then
    raise exception using
      errcode = 'LS001',
      message = format('%s is %s', argument, coalesce(value, 'NULL')),
      hint = format('Allowed: %s.', allowed);
  end if;
end;
$$;

revoke all on function identity_sync_private.check_argument(text, text, boolean, text) from public;

comment on function identity_sync_private.check_argument(text, text, boolean, text) is
  'Takes an argument''s name, its value as text, whether it is allowed and what is; raises LS001 unless it is allowed.';
