-- The generation counter of each (resource, kind): only generations fence.
create table intent (
    resource text collate "C" not null,
    kind text not null,
    generation bigint not null check (generation > 0),
    directive_id uuid not null,
    primary key (resource, kind)
) with (fillfactor = 70);

-- Directives. Everything but state, open, revision, changed_at, actor, attempt and detail is immutable.
create table directive (
    id uuid primary key,
    resource text collate "C" not null,
    kind text not null,
    -- 0: advice, which consumes no generation and is never delivered.
    generation bigint not null check (generation >= 0),
    parent_generation bigint not null check (parent_generation >= 0),
    undo_of uuid,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    state text not null,
    -- Proposed or under way: may still move by itself.
    open boolean not null,
    revision bigint not null,
    changed_at timestamptz not null,
    -- Of the last transition: a repeated one is recognised by them.
    actor text not null,
    attempt bigint not null,
    detail text not null,
    -- homeostat.v1.Directive.
    body bytea not null
) with (fillfactor = 70, toast_tuple_target = 256);
-- A change of state rewrites the small row, not the body: that stays where it is.
alter table directive alter body set storage external;
-- No index names state or revision, so that most changes of state touch no index.
create index directive_open on directive (resource, kind) where open;
create unique index directive_generation on directive (resource, kind, generation) where generation > 0;
create index directive_of_resource on directive (resource, created_at, id);
create index directive_created on directive (created_at, id);

-- Steps of directives' lives, only ever added to. The writer has checked that the directive exists: a foreign key would check
-- each of 6,000 rows a second again.
create table transition (
    revision bigint primary key,
    directive_id uuid not null,
    at timestamptz not null,
    from_state text not null,
    to_state text not null,
    -- homeostat.v1.Transition.
    body bytea not null
);
create index transition_of_directive on transition (directive_id, revision);
