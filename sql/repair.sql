-- Repairs by hand: psql "$DATABASE_URL" -v verdicts=FILE -f sql/repair.sql
-- FILE holds LML's answer, an array of results, or one result. Shows the report, then each column that changed,
-- old beside new, and commits. sql/dry-run.sql shows the same and rolls back.

\set ON_ERROR_STOP on
\if :{?verdicts}
\else
  do $$ begin raise exception 'usage: psql "$DATABASE_URL" -v verdicts=FILE -f sql/repair.sql'; end $$;
\endif

begin;
\ir lib/apply-verdicts.sql
commit;
\echo 'Committed.'
