-- Makes the rule "library is never written to" audible: any statement that would, fails, even one that touches no row.
-- To be installed once the catalogue is loaded.

create function wxyc_schema.forbid_library_writes() returns trigger
language plpgsql
as $$
begin
  raise exception 'library is never written to'
    using detail = format('%s on %I.%I', tg_op, tg_table_schema, tg_table_name);
end;
$$;

create trigger forbid_library_writes
before insert or update or delete or truncate on wxyc_schema.library
for each statement execute function wxyc_schema.forbid_library_writes();
