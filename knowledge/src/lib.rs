//! Knowledge: the only service that touches Postgres; the others reach what is remembered through its gRPC API.

pub mod embedded;
