-- Reads a method's band off is_in_band, in hundredths as the wire contract gives them, so that a refusal's words follow
-- the rule.
create or replace function identity_sync_private.describe_band(method text)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('%s to %s', min(step), max(step))
  from generate_series(0.00, 1.00, 0.01) as step
  where identity_sync_private.is_in_band(describe_band.method, step)
  having count(*) > 0;
$$;

revoke all on function identity_sync_private.describe_band(text) from public;

comment on function identity_sync_private.describe_band(text) is
  'Takes a method; returns its band in words, such as 0.60 to 0.79, NULL for an unknown method.';
