//! The client of what Knowledge knows about seasons.

use super::{Error, MESSAGE_LIMIT_BYTES, answer, refused};
use crate::{
    convert::{self, all},
    model::{SeasonalityModel, SignalId},
    wire::{self, seasonalities_client::SeasonalitiesClient},
};
use tonic::transport::Channel;

/// One page of models.
#[derive(Debug, Clone, PartialEq)]
pub struct SeasonalityPage {
    /// By signal, without shapes.
    pub models: Vec<SeasonalityModel>,
    /// Whether more follow.
    pub more: bool,
}

/// Speaks to Knowledge about seasons.
#[derive(Debug, Clone)]
pub struct Seasonalities {
    inner: SeasonalitiesClient<Channel>,
}

impl Seasonalities {
    /// Over this channel, the same as Knowledge's.
    pub fn new(channel: Channel) -> Self {
        let inner = SeasonalitiesClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
        Self { inner }
    }

    /// Records models, at most 1,000; gives them back as stored.
    ///
    /// # Errors
    /// When Knowledge cannot be reached or refuses one.
    pub async fn record(&self, models: Vec<SeasonalityModel>) -> Result<Vec<SeasonalityModel>, Error> {
        let call = "Seasonalities.RecordSeasonality";
        let request = wire::RecordSeasonalityRequest { models: convert::back(models) };
        let reply = self.inner.clone().record_seasonality(request).await.map_err(refused(call))?;
        all(reply.into_inner().models, "models").map_err(answer(call))
    }

    /// One page of the models in force; `page_size` 0 means the usual number.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list(&self, prefix: &str, after: &str, page_size: u32) -> Result<SeasonalityPage, Error> {
        let call = "Seasonalities.ListSeasonality";
        let request = wire::ListSeasonalityRequest {
            signal_prefix: prefix.to_owned(),
            page_size,
            after_signal: after.to_owned(),
        };
        let reply = self.inner.clone().list_seasonality(request).await.map_err(refused(call))?.into_inner();
        Ok(SeasonalityPage { models: all(reply.models, "models").map_err(answer(call))?, more: reply.more })
    }

    /// Versions of one signal, newest first; `limit` 0 means all that are kept.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn history(&self, signal: SignalId, limit: u32) -> Result<Vec<SeasonalityModel>, Error> {
        let call = "Seasonalities.SeasonalityHistory";
        let request = wire::SeasonalityHistoryRequest { signal: Some(signal.into()), limit };
        let reply = self.inner.clone().seasonality_history(request).await.map_err(refused(call))?;
        all(reply.into_inner().models, "models").map_err(answer(call))
    }
}
