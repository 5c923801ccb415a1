//! The language that the five services share: wire messages, validated model types, the conversion between them, and
//! typed clients. Past `convert`, an invalid value cannot exist.

pub mod client;
pub mod convert;
pub mod model;
pub mod wire;

/// The compiled descriptors of every `.proto` file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/homeostat.bin"));
