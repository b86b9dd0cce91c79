-- The next migration begins here.
drop function identity_sync_private.due_libraries(timestamptz, timestamptz, boolean);
