-- The next migration begins here.

alter table identity_sync.quarantined_verdict add column asked_as bigint;

comment on column identity_sync.quarantined_verdict.asked_as is
  'The fingerprint that the library was asked by; NULL where it is not known, as for a repair.';
