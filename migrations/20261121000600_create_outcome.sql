-- Verdicts on applied directives.
create table outcome (
    directive_id uuid not null,
    at timestamptz not null,
    result text not null,
    -- homeostat.v1.Outcome.
    body bytea not null,
    primary key (directive_id, at, result)
);
create index outcome_newest on outcome (at);

-- Feedback signals: many small rows, so plain columns and few indexes.
create table feedback (
    id uuid primary key,
    loop text not null,
    resource text not null,
    directive_id uuid,
    name text not null,
    value double precision not null,
    at timestamptz not null
);
create index feedback_newest on feedback (at);
create index feedback_of_directive on feedback (directive_id, at) where directive_id is not null;
