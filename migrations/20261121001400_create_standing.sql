-- What each policy has earned at each resource: one row per change, never edited.
create table standing (
    policy text collate "C" not null,
    resource text collate "C" not null,
    -- Counts the changes from 1 without a gap; two at once would have the same, so that one is refused.
    generation bigint not null check (generation > 0),
    at timestamptz not null,
    -- homeostat.v1.Standing.
    body bytea not null,
    primary key (policy, resource, generation)
);

-- Why: backtests, advice against what happened, outcomes. The oldest of a policy at a resource go.
create table standing_evidence (
    policy text collate "C" not null,
    resource text collate "C" not null,
    source text not null,
    -- A directive's id, or a backtest's name: what was told before is not counted again.
    subject text collate "C" not null,
    at timestamptz not null,
    -- homeostat.v1.StandingEvidence.
    body bytea not null,
    primary key (policy, resource, source, subject)
);
create index standing_evidence_newest on standing_evidence (policy, resource, at desc);
