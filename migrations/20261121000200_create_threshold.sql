-- Versions of learned thresholds. Limits are never edited; only the state of a version moves.
create table threshold (
    signal text collate "C" not null,
    generation bigint not null check (generation > 0),
    state text not null,
    created_at timestamptz not null,
    -- homeostat.v1.Threshold; its state is that of the column.
    body bytea not null,
    primary key (signal, generation)
);
create unique index threshold_in_force on threshold (signal) where state in ('active', 'pinned');
create unique index threshold_waiting on threshold (signal) where state = 'proposed';
