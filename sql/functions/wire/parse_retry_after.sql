-- Reads a Retry-After header: a number of seconds, or a date as HTTP writes it. Two proxies in a row may each send one:
-- of several numbers the largest counts. Anything else is ignored.
create or replace function identity_sync_private.parse_retry_after(retry_after text)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, DMY'
as $$
begin
  return case
    when retry_after ~ '^ *[0-9]+([.][0-9]+)? *(, *[0-9]+([.][0-9]+)? *)*$'
    then (
      -- A century is as good as any longer time, and within the range of an interval.
      select clock_timestamp() + least(max(listed.seconds::numeric), 3e9)::float8 * interval '1 second'
      from regexp_split_to_table(retry_after, ',') as listed (seconds)
    )
    else (
      substring(
        retry_after
        from '^ *[A-Z][a-z]{2}, ([0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}) GMT *(,.*)?$'
      )
    )::timestamp at time zone 'UTC'
  end;
exception
  when datetime_field_overflow or invalid_datetime_format then
    return null;
end;
$$;

revoke all on function identity_sync_private.parse_retry_after(text) from public;

comment on function identity_sync_private.parse_retry_after(text) is
  'Takes a Retry-After header; returns the time it names, NULL where there is none or it is neither seconds nor an HTTP date.';
