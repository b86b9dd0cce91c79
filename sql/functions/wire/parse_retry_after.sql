-- Reads a Retry-After header: a number of seconds, or a date as HTTP writes it.
-- Anything else is ignored, because only a proxy in front of LML sends the header.
create or replace function identity_sync_private.parse_retry_after(retry_after text)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, DMY'
as $$
begin
  return case
    when retry_after ~ '^\s*[0-9]{1,6}\s*$' then clock_timestamp() + retry_after::integer * interval '1 second'
    when retry_after ~ '^\s*[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\s*$'
    then substring(retry_after from ', (.*) GMT')::timestamp at time zone 'UTC'
  end;
exception
  when datetime_field_overflow or invalid_datetime_format then
    return null;
end;
$$;

revoke all on function identity_sync_private.parse_retry_after(text) from public;

comment on function identity_sync_private.parse_retry_after(text) is
  'Takes a Retry-After header; returns the time it names, NULL where there is none or it is neither seconds nor an HTTP date.';
