//! Typed clients: model types in, model types out. They retry nothing; the caller knows what may be repeated.

mod analyze;
mod execute;
mod knowledge;
mod seasonality;
mod standing;

pub use analyze::{Analyze, AssessmentStream, SignalPage};
pub use execute::{
    Delivery, DeliveryStream, Execute, Observing, Registration, Report, ReportAnswer, ReportDisposition,
    ReportResult,
};
pub use knowledge::{
    Change, ChangeEvent, ChangeStream, DeclaredList, DirectiveList, DirectiveStream, Knowledge,
    ProposeAnswer, ProposeVerdict, Review, ThresholdDecision, ThresholdPage, TransitionAnswer,
};
pub use seasonality::{Seasonalities, SeasonalityPage};
pub use standing::Standings;

use crate::{convert, wire};
use tonic::{Code, transport::Channel};

/// Largest message taken or sent: a batch of 65,536 rows of 24 bytes with its dictionary stays below 8 MiB; twice that.
pub const MESSAGE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Why a call gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service refused, or could not be reached.
    #[error("{} refused ({:?}): {}", call, status.code(), status.message())]
    Refused {
        /// Which call.
        call: &'static str,
        /// What it said.
        status: Box<tonic::Status>,
    },
    /// It answered with something that breaks the contract.
    #[error("the answer to {call} breaks the contract")]
    Answer {
        /// Which call.
        call: &'static str,
        /// Which field.
        #[source]
        source: convert::Error,
    },
}

impl Error {
    /// The status code, when the service refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { status, .. } => Some(status.code()),
            Self::Answer { .. } => None,
        }
    }

    /// Whether the same call may work later: the peer was away, overloaded or slow.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.code(),
            Some(
                Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::ResourceExhausted
                    | Code::Cancelled
                    | Code::Unknown
            )
        )
    }
}

fn refused(call: &'static str) -> impl Fn(tonic::Status) -> Error {
    move |status| Error::Refused { call, status: Box::new(status) }
}

fn answer(call: &'static str) -> impl Fn(convert::Error) -> Error {
    move |source| Error::Answer { call, source }
}

/// A stream of wire messages read as model values.
#[derive(Debug)]
pub struct Streamed<W, M> {
    call: &'static str,
    inner: tonic::Streaming<W>,
    model: std::marker::PhantomData<fn() -> M>,
}

impl<W, M> Streamed<W, M>
where
    M: TryFrom<W, Error = convert::Error>,
{
    fn new(call: &'static str, inner: tonic::Streaming<W>) -> Self {
        Self { call, inner, model: std::marker::PhantomData }
    }

    /// The next value; `None` when the server closed the stream.
    ///
    /// # Errors
    /// When the connection broke or a message breaks the contract.
    pub async fn next(&mut self) -> Result<Option<M>, Error> {
        match self.inner.message().await.map_err(refused(self.call))? {
            Some(message) => M::try_from(message).map(Some).map_err(answer(self.call)),
            None => Ok(None),
        }
    }
}

/// Monitor's client.
pub type MonitorClient = wire::monitor_client::MonitorClient<Channel>;
/// Plan's client.
pub type PlanClient = wire::plan_client::PlanClient<Channel>;
