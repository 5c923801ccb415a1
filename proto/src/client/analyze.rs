//! Analyze's client.

use super::{Error, MESSAGE_LIMIT_BYTES, Streamed, answer, refused};
use crate::{
    convert::all,
    model::{Assessment, LearnedSignal, ResourceId, TrackedObjective},
    wire::{self, analyze_client::AnalyzeClient},
};
use tonic::transport::Channel;

/// Assessments as they are made.
pub type AssessmentStream = Streamed<wire::Assessment, Assessment>;

/// One page of learned signals.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalPage {
    /// In order of their text form.
    pub signals: Vec<LearnedSignal>,
    /// Whether more follow.
    pub more: bool,
}

/// Speaks to Analyze.
#[derive(Debug, Clone)]
pub struct Analyze {
    inner: AnalyzeClient<Channel>,
}

impl Analyze {
    /// Over this channel.
    pub fn new(channel: Channel) -> Self {
        let inner = AnalyzeClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
        Self { inner }
    }

    /// The newest assessment of each resource, then each new one. No resources: all declared ones.
    ///
    /// # Errors
    /// When the stream cannot be opened.
    pub async fn watch_assessments(&self, resources: Vec<ResourceId>) -> Result<AssessmentStream, Error> {
        let request =
            wire::WatchAssessmentsRequest { resources: resources.into_iter().map(Into::into).collect() };
        let call = "Analyze.WatchAssessments";
        let stream = self.inner.clone().watch_assessments(request).await.map_err(refused(call))?;
        Ok(Streamed::new(call, stream.into_inner()))
    }

    /// One page of learned signals.
    ///
    /// # Errors
    /// When Analyze cannot be reached or its answer breaks the contract.
    pub async fn list_signals(&self, prefix: &str, after: &str, page_size: u32) -> Result<SignalPage, Error> {
        let request = wire::ListSignalsRequest {
            signal_prefix: prefix.to_owned(),
            page_size,
            after_signal: after.to_owned(),
        };
        let call = "Analyze.ListSignals";
        let page = self.inner.clone().list_signals(request).await.map_err(refused(call))?.into_inner();
        Ok(SignalPage { signals: all(page.signals, "signals").map_err(answer(call))?, more: page.more })
    }

    /// How every imported objective stands.
    ///
    /// # Errors
    /// When Analyze cannot be reached or its answer breaks the contract.
    pub async fn list_objective_states(&self) -> Result<Vec<TrackedObjective>, Error> {
        let call = "Analyze.ListObjectiveStates";
        let request = wire::ListObjectiveStatesRequest {};
        let listed = self.inner.clone().list_objective_states(request).await.map_err(refused(call))?;
        all(listed.into_inner().objectives, "objectives").map_err(answer(call))
    }

    /// The generated client, for the ingest stream.
    pub fn raw(&self) -> AnalyzeClient<Channel> {
        self.inner.clone()
    }
}
