-- Saved learner state: whole blocks, already compressed, replaced as a whole.
create table snapshot (
    key text collate "C" primary key,
    format bigint not null,
    at timestamptz not null,
    body bytea not null
);
alter table snapshot alter body set storage external;
