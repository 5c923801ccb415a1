-- OpenSLO documents: every version that ever was; the newest of a name is in force.
create table objective_document (
    kind text collate "C" not null,
    name text collate "C" not null,
    version bigint not null check (version > 0),
    at timestamptz not null,
    -- openslo/v1 in YAML.
    body text not null,
    primary key (kind, name, version)
);

-- What happened to budgets, span by span. An edit is a new row: the newest revision of a span counts, the older ones are its history.
create table budget_span (
    objective text collate "C" not null,
    at timestamptz not null,
    width_ms bigint not null check (width_ms > 0),
    revision integer not null check (revision > 0),
    total double precision not null check (total >= 0),
    bad double precision not null check (bad >= 0 and bad <= total),
    known_ms bigint not null check (known_ms >= 0),
    incomplete boolean not null,
    told_at timestamptz not null,
    primary key (objective, at, revision)
);

-- Alerts, measures and approvals.
create table objective_event (
    id uuid primary key,
    objective text collate "C" not null,
    at timestamptz not null,
    kind text not null,
    text text not null,
    actor text not null
);
create index objective_event_newest on objective_event (objective, at);
