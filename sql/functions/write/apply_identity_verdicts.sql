-- A verdict becomes rows here and nowhere else. A call by hand is a run of its own, so that it can be looked at and
-- taken back; the service's answers belong to the run that asked. A second call with the same verdicts changes nothing.
create or replace function identity_sync.apply_identity_verdicts(
  response jsonb,
  requested integer[] default null,
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
  this_run constant bigint := nextval('identity_sync.run_run_id_seq');
  started_at constant timestamptz := clock_timestamp();
  report jsonb;
begin
  report := identity_sync_private.settle_verdicts(
    response, requested, origin, verified_at, strict_bands, asked_as, this_run
  );
  perform identity_sync_private.record_run_by_hand(this_run, 'repair', started_at, report);
  return report;
end;
$$;

revoke all on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[])
from public;

comment on function identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[]) is
  'Takes LML''s whole answer, an array of results or one result; the library ids that were asked (NULL: a repair by hand, which trusts every id in library); the origin kept in notes (consumer:lml-bulk, or repair: and more; NULL: repair: and the login); the time of the answer; whether a confidence outside its method''s band, or what is not known, refuses its verdict; and the fingerprints that the ids were asked by, in their order (NULL: by their present names). Returns the report as jsonb, and tells the number of its run in a notice (LS009). Raises LS001 for a bad argument, LS003 where response is no answer and nothing was requested, and passes on SQLSTATE classes 08, 40, 53, 55, 57 and 58: 55P03 where another session holds one of the libraries for 5 seconds, or, unless a repair, a row of the station for half a second.';
