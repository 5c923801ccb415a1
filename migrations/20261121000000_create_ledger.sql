-- Times travel as Unix milliseconds and are stored as timestamptz. Both functions are plain SQL, so that Postgres inlines them.
create function from_unix_ms(ms bigint) returns timestamptz
    language sql immutable strict parallel safe
    as 'select to_timestamp(ms::double precision / 1000.0)';

create function unix_ms(at timestamptz) returns bigint
    language sql stable strict parallel safe
    as 'select (extract(epoch from at) * 1000)::bigint';

-- The ledger's revision: one row, counted up inside each writing transaction. Its row lock makes the order of revisions the
-- order of commits, for every instance.
create table revision (
    single boolean primary key default true check (single),
    value bigint not null check (value >= 0)
);
insert into revision (value) values (0);

-- The change feed: one row per revision, without gaps; pruned from its old end only.
create table change (
    revision bigint primary key,
    at timestamptz not null,
    kind text not null,
    -- A directive's immutable part is joined on reading: it would be stored again with each of its transitions.
    directive_id uuid,
    -- homeostat.v1.Change.
    body bytea not null
);
