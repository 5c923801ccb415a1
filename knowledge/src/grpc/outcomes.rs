//! Outcomes, feedback signals and the pause.

use proto::{model::PauseState, wire};
use tonic::Status;

use super::{LISTED_USUALLY, ROWS_MOST, Service, all, at_most, limit, optional_id};
use crate::store::{feedback, outcome, pause};
use crate::writer::Load;

impl Service {
    pub(super) async fn store_outcomes(
        &self,
        request: wire::RecordOutcomesRequest,
    ) -> Result<wire::RecordOutcomesResponse, Status> {
        at_most("outcomes", request.outcomes.len(), ROWS_MOST)?;
        self.bulk.ask(Load::Outcomes(all(request.outcomes)?)).await?;
        Ok(wire::RecordOutcomesResponse {})
    }

    pub(super) async fn list_of_outcomes(
        &self,
        request: wire::ListOutcomesRequest,
    ) -> Result<wire::ListOutcomesResponse, Status> {
        let directive = optional_id(&request.directive_id, "directive_id")?;
        let limit = limit("limit", request.limit, LISTED_USUALLY, ROWS_MOST as u32)?;
        let outcomes = outcome::list(&self.feed.store.pool, directive, limit).await?;
        Ok(wire::ListOutcomesResponse { outcomes })
    }

    pub(super) async fn store_feedback(
        &self,
        request: wire::RecordFeedbackRequest,
    ) -> Result<wire::RecordFeedbackResponse, Status> {
        at_most("signals", request.signals.len(), ROWS_MOST)?;
        let stored = self.bulk.ask(Load::Feedback(all(request.signals)?)).await?;
        Ok(wire::RecordFeedbackResponse { stored })
    }

    pub(super) async fn list_of_feedback(
        &self,
        request: wire::ListFeedbackRequest,
    ) -> Result<wire::ListFeedbackResponse, Status> {
        let directive = optional_id(&request.directive_id, "directive_id")?;
        let limit = limit("limit", request.limit, LISTED_USUALLY, ROWS_MOST as u32)?;
        let signals = feedback::list(&self.feed.store.pool, directive, limit).await?;
        Ok(wire::ListFeedbackResponse { signals })
    }

    pub(super) async fn merge_pause(
        &self,
        request: wire::SetPauseRequest,
    ) -> Result<wire::PauseState, Status> {
        let wire::SetPauseRequest { paused, counter, reason, actor } = request;
        let state = PauseState { paused, counter, reason, actor, at: self.ctx.clock.now() };
        let merged = self.ledger.transact(move |tx| Box::pin(pause::merge(tx, state))).await?;
        Ok(merged.into())
    }

    pub(super) async fn pause(&self) -> Result<wire::PauseState, Status> {
        let mut connection = self.connection().await?;
        let state = pause::get(&mut connection).await?;
        Ok(state.unwrap_or_else(|| PauseState::never(self.ctx.clock.now())).into())
    }
}
