//! Generated messages, servers and clients of `homeostat.v1`. Only `convert`, `client` and each service's `grpc.rs` name them.

#![expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated code; its documentation stands in the .proto files"
)]

tonic::include_proto!("homeostat.v1");
