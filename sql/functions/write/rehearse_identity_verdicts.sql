-- Applies verdicts for real inside a subtransaction and rolls it back, so a dry run meets the refusals of the database
-- too, deferred constraints included. Only the report remains; sequences have moved and dead rows stay until vacuum.
create or replace function identity_sync_private.rehearse_identity_verdicts(
  response jsonb,
  requested integer[] default null,
  origin text default null,
  verified_at timestamptz default clock_timestamp(),
  strict_bands boolean default false,
  asked_as bigint[] default null
)
returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  report jsonb;
begin
  report := identity_sync_private.settle_verdicts(
    response, requested, origin, verified_at, strict_bands, asked_as
  );
  -- A code of its own: PL/pgSQL takes one that ends in 000 for its whole class, and would swallow the writer's errors.
  raise exception using errcode = 'LS007', message = 'the dry run is over, its report is returned';
exception
  when sqlstate 'LS007' then
    return report;
end;
$$;

revoke all on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[]
) from public;

comment on function identity_sync_private.rehearse_identity_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[]
) is
  'Takes the arguments of apply_identity_verdicts; returns the report that it would return. Raises what it raises.';
