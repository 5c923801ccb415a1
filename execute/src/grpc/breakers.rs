//! Breakers: their evidence, the fleet's advice, and people's overrides.

use proto::wire;
use tonic::Status;

use super::{ExecuteRpc, Replied, Streamed};

impl ExecuteRpc {
    pub(super) async fn observed(
        &self,
        _: tonic::Streaming<wire::ObserveRequest>,
    ) -> Replied<Streamed<wire::ObserveResponse>> {
        Err(Status::unimplemented("breakers are not observed yet"))
    }

    pub(super) fn listed(&self, _: wire::ListBreakersRequest) -> Replied<wire::ListBreakersResponse> {
        Err(Status::unimplemented("breakers are not observed yet"))
    }

    pub(super) async fn overridden(&self, _: wire::OverrideBreakerRequest) -> Replied<wire::DirectiveRecord> {
        Err(Status::unimplemented("breakers are not overridden yet"))
    }
}
