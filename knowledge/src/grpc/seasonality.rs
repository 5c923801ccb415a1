//! Models of seasons: recorded, listed, told with their history.

use proto::{
    model::{SeasonalityModel, SignalId},
    wire::{self, seasonalities_server::Seasonalities},
};
use sqlx::PgPool;
use tonic::{Request, Status};

use super::{Answer, all, at_most, given, limit, reply};
use crate::store::seasonality::{self, Filter, VERSIONS_KEPT};

/// Models in one request: of up to 7 KB each they fit half of the largest message.
const MODELS_MOST: usize = 1_000;

/// The service behind the wire. It writes no ledger: nothing acts on these rows but by reading them.
#[derive(Debug)]
pub(crate) struct SeasonalitiesRpc {
    pub(crate) pool: PgPool,
}

impl SeasonalitiesRpc {
    async fn record(
        &self,
        request: wire::RecordSeasonalityRequest,
    ) -> Result<wire::RecordSeasonalityResponse, Status> {
        at_most("models", request.models.len(), MODELS_MOST)?;
        let found: Vec<SeasonalityModel> = all(request.models)?;
        let stored = seasonality::record(&self.pool, found).await?;
        Ok(wire::RecordSeasonalityResponse { models: stored.into_iter().map(Into::into).collect() })
    }

    async fn list(
        &self,
        request: wire::ListSeasonalityRequest,
    ) -> Result<wire::ListSeasonalityResponse, Status> {
        let wire::ListSeasonalityRequest { signal_prefix, page_size, after_signal } = request;
        let models = limit("page_size", page_size, MODELS_MOST as u32, MODELS_MOST as u32)?;
        let filter = Filter { prefix: signal_prefix, models, after: after_signal };
        let (models, more) = seasonality::list(&self.pool, &filter).await?;
        let models = models.into_iter().map(without_shapes).map(Into::into).collect();
        Ok(wire::ListSeasonalityResponse { models, more })
    }

    async fn versions(
        &self,
        request: wire::SeasonalityHistoryRequest,
    ) -> Result<wire::SeasonalityHistoryResponse, Status> {
        let signal: SignalId = given(request.signal, "signal")?;
        let kept = VERSIONS_KEPT as u32;
        let limit = limit("limit", request.limit, kept, kept)?;
        let models = seasonality::history(&self.pool, &signal, limit).await?;
        Ok(wire::SeasonalityHistoryResponse { models: models.into_iter().map(Into::into).collect() })
    }
}

fn without_shapes(mut model: SeasonalityModel) -> SeasonalityModel {
    model.periods.iter_mut().for_each(|period| period.shape.clear());
    model
}

#[tonic::async_trait]
impl Seasonalities for SeasonalitiesRpc {
    async fn record_seasonality(
        &self,
        request: Request<wire::RecordSeasonalityRequest>,
    ) -> Answer<wire::RecordSeasonalityResponse> {
        reply(self.record(request.into_inner())).await
    }

    async fn list_seasonality(
        &self,
        request: Request<wire::ListSeasonalityRequest>,
    ) -> Answer<wire::ListSeasonalityResponse> {
        reply(self.list(request.into_inner())).await
    }

    async fn seasonality_history(
        &self,
        request: Request<wire::SeasonalityHistoryRequest>,
    ) -> Answer<wire::SeasonalityHistoryResponse> {
        reply(self.versions(request.into_inner())).await
    }
}
