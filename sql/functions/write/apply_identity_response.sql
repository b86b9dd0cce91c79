-- apply_identity_verdicts for the text of an answer as it came off the wire. Results that jsonb cannot hold are
-- quarantined as text and the others applied. Where the text is no answer, every requested id counts as lml_error.
create or replace function identity_sync.apply_identity_response(
  body text,
  requested integer[],
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  answer constant jsonb := identity_sync.read_identity_answer(body, cardinality(requested));
begin
  if answer is null and requested is null then
    raise exception using
      errcode = 'LS003',
      message = identity_sync_private.explain_no_answer(body),
      hint = 'Allowed: LML''s whole answer ({"results": [...]}), an array of results, or one result.';
  end if;
  return identity_sync.apply_identity_verdicts(answer, requested, origin, verified_at, strict_bands, asked_as);
end;
$$;

revoke all on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean, bigint[])
from public;

comment on function identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean, bigint[]) is
  'Takes the text of LML''s answer and what apply_identity_verdicts takes besides; returns its report. Raises LS003 where the text is no answer and no id was requested.';
