-- The next migration begins here.

drop function identity_sync.replay_quarantined_verdicts(bigint);
