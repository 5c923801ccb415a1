//! What policies have earned: changes recorded one after the other, evidence recorded once.

use proto::{
    model::{ResourceId, Standing, StandingCause},
    wire::{self, standings_server::Standings},
};
use sqlx::PgPool;
use tonic::{Request, Status};

use super::{Answer, LISTED_USUALLY, ROWS_MOST, all, at_most, given, limit, reply};
use crate::store::{Error, standing};

/// Evidence in one request: of up to 9 KB each it fits half of the largest message.
const EVIDENCE_MOST: usize = 1_000;
/// Changes told at once.
const CHANGES_MOST: u32 = 1_000;

/// The service behind the wire. It writes no ledger: Plan reads these rows every second.
#[derive(Debug)]
pub(crate) struct StandingsRpc {
    pub(crate) pool: PgPool,
}

impl StandingsRpc {
    async fn list(&self) -> Result<wire::ListStandingsResponse, Status> {
        let found = standing::list(&self.pool).await?;
        Ok(wire::ListStandingsResponse { standings: found.into_iter().map(Into::into).collect() })
    }

    async fn history(
        &self,
        request: wire::StandingHistoryRequest,
    ) -> Result<wire::StandingHistoryResponse, Status> {
        let wire::StandingHistoryRequest { policy, resource, limit: asked } = request;
        let resource: ResourceId = given(resource, "resource")?;
        let limit = limit("limit", asked, LISTED_USUALLY, CHANGES_MOST)?;
        let found = standing::history(&self.pool, &policy, &resource, limit).await?;
        Ok(wire::StandingHistoryResponse { standings: found.into_iter().map(Into::into).collect() })
    }

    async fn record(
        &self,
        request: wire::RecordStandingRequest,
    ) -> Result<wire::RecordStandingResponse, Status> {
        let change: Standing = given(request.standing, "standing")?;
        if change.cause == StandingCause::Set && change.reason.trim().is_empty() {
            return Err(Status::invalid_argument("reason: must be given when a person sets a level"));
        }
        let (recorded, newest) = standing::record(&self.pool, change).await?;
        if !recorded && newest.is_none() {
            return Err(Status::invalid_argument("generation: the first change must have generation 1"));
        }
        let newest = newest.ok_or(Error::Inconsistent("a standing that was just stored"))?;
        Ok(wire::RecordStandingResponse { recorded, standing: Some(newest.into()) })
    }

    async fn record_evidence(
        &self,
        request: wire::RecordEvidenceRequest,
    ) -> Result<wire::RecordEvidenceResponse, Status> {
        at_most("evidence", request.evidence.len(), EVIDENCE_MOST)?;
        let stored = standing::record_evidence(&self.pool, all(request.evidence)?).await?;
        Ok(wire::RecordEvidenceResponse { stored })
    }

    async fn evidence(
        &self,
        request: wire::ListEvidenceRequest,
    ) -> Result<wire::ListEvidenceResponse, Status> {
        let wire::ListEvidenceRequest { policy, resource, limit: asked } = request;
        let resource = resource.map(|resource| given(Some(resource), "resource")).transpose()?;
        let limit = limit("limit", asked, LISTED_USUALLY, ROWS_MOST as u32)?;
        let found = standing::evidence(&self.pool, &policy, resource.as_ref(), limit).await?;
        Ok(wire::ListEvidenceResponse { evidence: found.into_iter().map(Into::into).collect() })
    }
}

#[tonic::async_trait]
impl Standings for StandingsRpc {
    async fn list_standings(
        &self,
        _: Request<wire::ListStandingsRequest>,
    ) -> Answer<wire::ListStandingsResponse> {
        reply(self.list()).await
    }

    async fn standing_history(
        &self,
        request: Request<wire::StandingHistoryRequest>,
    ) -> Answer<wire::StandingHistoryResponse> {
        reply(self.history(request.into_inner())).await
    }

    async fn record_standing(
        &self,
        request: Request<wire::RecordStandingRequest>,
    ) -> Answer<wire::RecordStandingResponse> {
        reply(self.record(request.into_inner())).await
    }

    async fn record_evidence(
        &self,
        request: Request<wire::RecordEvidenceRequest>,
    ) -> Answer<wire::RecordEvidenceResponse> {
        reply(StandingsRpc::record_evidence(self, request.into_inner())).await
    }

    async fn list_evidence(
        &self,
        request: Request<wire::ListEvidenceRequest>,
    ) -> Answer<wire::ListEvidenceResponse> {
        reply(self.evidence(request.into_inner())).await
    }
}
