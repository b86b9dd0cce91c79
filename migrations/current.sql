-- The next migration begins here.
drop function identity_sync.identity_run_progress(bigint);
