-- Applies verdicts for real inside a subtransaction, and takes all of it back: what the database would refuse is refused,
-- deferred constraints are checked, and only the report remains. Sequences have moved and rows have died in the attempt.
create or replace function identity_sync_private.rehearse_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  report := identity_sync.apply_identity_verdicts(response, requested, origin, verified_at, strict_bands);
  raise exception using errcode = 'LS000', message = 'the rehearsal is over';
exception
  when sqlstate 'LS000' then
    return report;
end;
$$;

revoke all on function identity_sync_private.rehearse_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) from public;

comment on function identity_sync_private.rehearse_identity_verdicts(jsonb, integer[], text, timestamptz, boolean) is
  'Takes what apply_identity_verdicts does; returns the report it would give, and writes nothing.';
