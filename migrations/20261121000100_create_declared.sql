-- What people declared, as it stands.
create table declared (
    kind text collate "C" not null,
    namespace text collate "C" not null,
    name text collate "C" not null,
    version bigint not null check (version > 0),
    applied_at timestamptz not null,
    -- homeostat.v1.Declared.
    body bytea not null,
    primary key (kind, namespace, name)
);

-- Every version that ever was, deletions too: a name that comes back goes on counting.
create table declared_version (
    kind text collate "C" not null,
    namespace text collate "C" not null,
    name text collate "C" not null,
    version bigint not null,
    at timestamptz not null,
    -- Null: deleted.
    body bytea,
    primary key (kind, namespace, name, version)
);

-- Resources that were ever seen, declared or not.
create table resource (
    id text collate "C" primary key,
    seen_at timestamptz not null
);
