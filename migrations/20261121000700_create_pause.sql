-- The kill switch's memory: one row, or none while nobody has touched the switch.
create table pause (
    single boolean primary key default true check (single),
    paused boolean not null,
    counter bigint not null check (counter >= 0),
    reason text not null,
    actor text not null,
    at timestamptz not null
);
