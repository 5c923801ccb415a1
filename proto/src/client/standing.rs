//! The client of what policies have earned.

use super::{Error, MESSAGE_LIMIT_BYTES, answer, refused};
use crate::{
    convert::{self, all, required},
    model::{ResourceId, Standing, StandingEvidence},
    wire::{self, standings_client::StandingsClient},
};
use tonic::transport::Channel;

/// Speaks to Knowledge about standings.
#[derive(Debug, Clone)]
pub struct Standings {
    inner: StandingsClient<Channel>,
}

impl Standings {
    /// Over this channel, the same as Knowledge's.
    pub fn new(channel: Channel) -> Self {
        let inner = StandingsClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
        Self { inner }
    }

    /// The newest standing of each (policy, resource).
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list(&self) -> Result<Vec<Standing>, Error> {
        let call = "Standings.ListStandings";
        let reply = self.inner.clone().list_standings(wire::ListStandingsRequest {}).await;
        all(reply.map_err(refused(call))?.into_inner().standings, "standings").map_err(answer(call))
    }

    /// Every change of one standing, newest first; `limit` 0 means the usual number.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn history(
        &self,
        policy: &str,
        resource: &ResourceId,
        limit: u32,
    ) -> Result<Vec<Standing>, Error> {
        let call = "Standings.StandingHistory";
        let request = wire::StandingHistoryRequest {
            policy: policy.to_owned(),
            resource: Some(resource.into()),
            limit,
        };
        let reply = self.inner.clone().standing_history(request).await.map_err(refused(call))?;
        all(reply.into_inner().standings, "standings").map_err(answer(call))
    }

    /// Records a change; whether it was recorded, and the newest standing now.
    ///
    /// # Errors
    /// When Knowledge cannot be reached or refuses it.
    pub async fn record(&self, standing: Standing) -> Result<(bool, Standing), Error> {
        let call = "Standings.RecordStanding";
        let request = wire::RecordStandingRequest { standing: Some(standing.into()) };
        let reply = self.inner.clone().record_standing(request).await.map_err(refused(call))?.into_inner();
        Ok((reply.recorded, required(reply.standing, "standing").map_err(answer(call))?))
    }

    /// Records evidence, at most 1,000 pieces; how many were new.
    ///
    /// # Errors
    /// When Knowledge cannot be reached or refuses one.
    pub async fn record_evidence(&self, evidence: Vec<StandingEvidence>) -> Result<u64, Error> {
        let call = "Standings.RecordEvidence";
        let request = wire::RecordEvidenceRequest { evidence: convert::back(evidence) };
        Ok(self.inner.clone().record_evidence(request).await.map_err(refused(call))?.into_inner().stored)
    }

    /// Evidence, newest first; an empty policy and no resource mean all, `limit` 0 the usual number.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn evidence(
        &self,
        policy: &str,
        resource: Option<&ResourceId>,
        limit: u32,
    ) -> Result<Vec<StandingEvidence>, Error> {
        let call = "Standings.ListEvidence";
        let request = wire::ListEvidenceRequest {
            policy: policy.to_owned(),
            resource: resource.map(Into::into),
            limit,
        };
        let reply = self.inner.clone().list_evidence(request).await.map_err(refused(call))?;
        all(reply.into_inner().evidence, "evidence").map_err(answer(call))
    }
}
