-- The bands of confidence in which the catalogue's coverage is counted.
create or replace function identity_sync_private.confidence_band(confidence real)
returns text
language sql immutable parallel safe
return case
  when confidence >= 1 then '1.00'
  when confidence >= 0.95::real then '0.95 - 0.99'
  when confidence >= 0.90::real then '0.90 - 0.94'
  when confidence >= 0.80::real then '0.80 - 0.89'
  when confidence >= 0.70::real then '0.70 - 0.79'
  else 'below 0.70'
end;

revoke all on function identity_sync_private.confidence_band(real) from public;

comment on function identity_sync_private.confidence_band(real) is
  'Takes a confidence; returns the band of confidence that it counts in.';
