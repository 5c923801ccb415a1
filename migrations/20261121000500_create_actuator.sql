-- Actuators and their leases. Leases are the one thing measured by the database's clock, which all instances share.
create table actuator (
    name text collate "C" not null,
    instance text collate "C" not null,
    lease_id uuid not null unique,
    epoch bigint not null check (epoch > 0),
    lease_until timestamptz not null,
    registered_at timestamptz not null,
    -- homeostat.v1.ActuatorSpec.
    body bytea not null,
    primary key (name, instance)
);
