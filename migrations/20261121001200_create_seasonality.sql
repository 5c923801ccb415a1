-- Versions of models of seasons. A model is never edited; only its state moves. The oldest versions of a signal go.
create table seasonality (
    signal text collate "C" not null,
    generation bigint not null check (generation > 0),
    state text not null,
    created_at timestamptz not null,
    -- homeostat.v1.SeasonalityModel; its state is that of the column.
    body bytea not null,
    primary key (signal, generation)
);
create unique index seasonality_in_force on seasonality (signal) where state = 'active';
