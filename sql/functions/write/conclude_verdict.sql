-- The final outcome of a judged verdict, and what becomes of its main row. The one place that lists a verdict's
-- attributes again; PostgreSQL inlines it, so that a whole batch costs no calls.
create or replace function identity_sync_private.conclude_verdict(
  verdict identity_sync_private.judged_verdict,
  outcome text,
  action text default null,
  version tid default null,
  refusal identity_sync_private.writer_refusal default null
)
returns identity_sync_private.judged_verdict
language sql immutable parallel safe
return row(
  verdict.ordinal, verdict.library_id, outcome,
  verdict.discogs_artist_id, verdict.musicbrainz_artist_id, verdict.wikidata_qid, verdict.spotify_id,
  verdict.apple_music_id, verdict.bandcamp_id, verdict.method, verdict.confidence,
  verdict.sources, verdict.null_confidence, verdict.duplicate, verdict.out_of_band,
  action, version, refusal, verdict.unknown
)::identity_sync_private.judged_verdict;

revoke all on function identity_sync_private.conclude_verdict(
  identity_sync_private.judged_verdict, text, text, tid, identity_sync_private.writer_refusal
) from public;

comment on function identity_sync_private.conclude_verdict(
  identity_sync_private.judged_verdict, text, text, tid, identity_sync_private.writer_refusal
) is
  'Takes a judged verdict, its final outcome, the action on its main row (inserted, changed, unchanged), the version of that row which was looked at, and why the database refused it; returns the verdict with these.';
