//! Learned thresholds: recorded, listed, reviewed.

use proto::{
    convert,
    model::{SignalId, Threshold, ThresholdReview},
    wire,
};
use tonic::Status;

use super::{LISTED_USUALLY, ROWS_MOST, Service, all, at_most, given, limit};
use crate::store::{self, threshold};
use crate::thresholds::Decision;

/// Signals on a page when the caller does not say.
const PAGE_USUALLY: u32 = 1_000;
/// Versions of one signal: at one an hour, six weeks of them.
const HISTORY_MOST: u32 = 1_000;

/// Versions in one transaction: about 25 ms. A relearning of thousands must not stand before a directive.
const RECORDED_AT_ONCE: usize = 250;

impl Service {
    /// In several transactions: what was stored when one fails is recognised when the caller repeats the request.
    pub(super) async fn record_learned(
        &self,
        request: wire::RecordThresholdsRequest,
    ) -> Result<wire::RecordThresholdsResponse, Status> {
        at_most("thresholds", request.thresholds.len(), ROWS_MOST)?;
        let mut learned: Vec<Threshold> = all(request.thresholds)?;
        let mut stored = Vec::with_capacity(learned.len());
        while !learned.is_empty() {
            let part: Vec<_> = learned.drain(..learned.len().min(RECORDED_AT_ONCE)).collect();
            stored.extend(self.ledger.transact(move |tx| Box::pin(threshold::record(tx, part))).await?);
        }
        Ok(wire::RecordThresholdsResponse { thresholds: stored.into_iter().map(Into::into).collect() })
    }

    pub(super) async fn list_learned(
        &self,
        request: wire::ListThresholdsRequest,
    ) -> Result<wire::ListThresholdsResponse, Status> {
        let wire::ListThresholdsRequest { signal_prefix, current_only, page_size, after_signal } = request;
        let signals = limit("page_size", page_size, PAGE_USUALLY, ROWS_MOST as u32)?;
        let filter = threshold::Filter { prefix: signal_prefix, current_only, signals, after: after_signal };
        let mut moment = self.feed.store.moment().await?;
        let revision = store::change::revision(&mut moment).await?;
        let (thresholds, more) = threshold::list(&mut moment, &filter).await?;
        store::done(moment).await;
        let thresholds = thresholds.into_iter().map(Into::into).collect();
        Ok(wire::ListThresholdsResponse { thresholds, revision, more })
    }

    pub(super) async fn history_of_learned(
        &self,
        request: wire::ThresholdHistoryRequest,
    ) -> Result<wire::ThresholdHistoryResponse, Status> {
        let signal: SignalId = given(request.signal, "signal")?;
        let limit = limit("limit", request.limit, LISTED_USUALLY, HISTORY_MOST)?;
        let mut connection = self.connection().await?;
        let thresholds = threshold::history(&mut connection, &signal, limit).await?;
        Ok(wire::ThresholdHistoryResponse { thresholds: thresholds.into_iter().map(Into::into).collect() })
    }

    pub(super) async fn review_learned(
        &self,
        request: wire::ReviewThresholdRequest,
    ) -> Result<wire::ReviewThresholdResponse, Status> {
        let wire::ReviewThresholdRequest { signal, review, generation, lower, upper, reviewer, reason } =
            request;
        let signal: SignalId = given(signal, "signal")?;
        let review = ThresholdReview::try_from(review)?;
        if reviewer.is_empty() {
            return Err(convert::Error::new("reviewer", "", "must be given").into());
        }
        let decision = Decision { review, generation, lower, upper, reviewer, reason };
        let reviewed =
            self.ledger.transact(move |tx| Box::pin(threshold::review(tx, signal, decision))).await?;
        Ok(wire::ReviewThresholdResponse { threshold: Some(reviewed.into()) })
    }
}
