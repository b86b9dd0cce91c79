-- Refuses arguments of apply_identity_verdicts before anything is looked at.
-- An origin is what consumers of the tables go by, so there are two kinds and no third. A time ahead of the clock would
-- keep the row from ever being due again.
create or replace function identity_sync_private.validate_application(
  origin text,
  verified_at timestamptz,
  strict_bands boolean
)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not identity_sync_private.is_repair(origin) and origin <> identity_sync_private.service_origin() then
    raise exception using
      errcode = 'LS001',
      message = format('origin is %L', origin),
      hint = format(
        'Allowed: %s for the service, a text that begins with %s for a repair by hand, NULL for %2$s and your login.',
        identity_sync_private.service_origin(), identity_sync_private.repair_origin('')
      );
  end if;
  if verified_at is null then
    raise exception using
      errcode = 'LS001',
      message = 'verified_at is NULL',
      hint = 'Name the time at which LML gave the answer, or leave it out for now.';
  end if;
  if not isfinite(verified_at) or verified_at > clock_timestamp() + interval '1 minute' then
    raise exception using
      errcode = 'LS001',
      message = format('verified_at is %s', verified_at),
      hint = 'Allowed: a time in the past, or at most one minute ahead of the database''s clock.';
  end if;
  if strict_bands is null then
    raise exception using errcode = 'LS001', message = 'strict_bands is NULL', hint = 'Allowed: true, false.';
  end if;
end;
$$;

revoke all on function identity_sync_private.validate_application(text, timestamptz, boolean) from public;

comment on function identity_sync_private.validate_application(text, timestamptz, boolean) is
  'Takes the origin, time and strictness of a call of apply_identity_verdicts; raises LS001 for the first that is not allowed.';
