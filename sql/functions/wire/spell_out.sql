-- Writes a document whose numbers are too long for jsonb's own text, each such number with an exponent, so that it can
-- be shown, and be read again by a replay.
create or replace function identity_sync_private.spell_out(document jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case jsonb_typeof(document)
    when 'object' then '{' || coalesce(
      (
        select string_agg(
          to_json(member.key)::text || ': ' || identity_sync_private.spell_out(member.value), ', ' order by ordinality
        )
        from jsonb_each(document) with ordinality as member (key, value, ordinality)
      ),
      ''
    ) || '}'
    when 'array' then '[' || coalesce(
      (
        select string_agg(identity_sync_private.spell_out(item.value), ', ' order by ordinality)
        from jsonb_array_elements(document) with ordinality as item (value, ordinality)
      ),
      ''
    ) || ']'
    else coalesce(
      identity_sync_private.printable(document)::text, btrim(to_char(document::numeric, '9.99999999999999eeee'))
    )
  end;
end;
$$;

revoke all on function identity_sync_private.spell_out(jsonb) from public;

comment on function identity_sync_private.spell_out(jsonb) is
  'Takes a JSON document; returns its text, in which a number beyond 1e100 or nearer to 0 than 1e-100 has an exponent and 15 digits.';
