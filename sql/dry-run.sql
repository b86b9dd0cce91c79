-- Rehearses a repair: psql "$DATABASE_URL" -v verdicts=FILE -f sql/dry-run.sql
-- FILE holds LML's answer, an array of results, or one result. Shows the report, then each column that would change, old
-- beside new, and rolls back. Sequences move all the same, and for the time it takes the rows are locked.

\set ON_ERROR_STOP on
\if :{?verdicts}
\else
  do $$ begin raise exception 'usage: psql "$DATABASE_URL" -v verdicts=FILE -f sql/dry-run.sql'; end $$;
\endif

begin;
\ir apply-verdicts.sql
rollback;
\echo 'Rolled back: nothing was written. The same file with sql/repair.sql writes it.'
