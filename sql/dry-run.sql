-- Previews a repair: psql "$DATABASE_URL" -v verdicts=FILE -f sql/dry-run.sql
-- FILE holds LML's answer, an array of results, or one result. Shows the report, then each column that would change,
-- old beside new, and rolls back. Sequences still advance, and the rows stay locked until the rollback.

\set ON_ERROR_STOP on
\if :{?verdicts}
\else
  do $$ begin raise exception 'usage: psql "$DATABASE_URL" -v verdicts=FILE -f sql/dry-run.sql'; end $$;
\endif

begin;
-- A run that is rolled back has no number to tell.
set local client_min_messages = warning;
\ir lib/apply-verdicts.sql
rollback;
\echo 'Rolled back: nothing was written. sql/repair.sql writes the same file.'
