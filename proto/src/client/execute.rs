//! Execute's client: what an actuator, and the command line, need.

use super::{Error, MESSAGE_LIMIT_BYTES, Streamed, answer, refused};
use crate::{
    convert::{self, all, required, timestamp},
    model::{
        ActuatorSpec, AppliedGeneration, BreakerAdvice, BreakerMode, BreakerRecord, BreakerReport, Directive,
        DirectiveRecord, DirectiveState, Generation, Lease, Observation, PauseState, ResourceId,
    },
    wire::{self, execute_client::ExecuteClient},
};
use futures::channel::mpsc;
use jiff::Timestamp;
use std::time::Duration;
use tonic::transport::Channel;
use uuid::Uuid;

/// An answer to Register.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Name it in every later call.
    pub lease: Lease,
    /// Renew well within this time.
    pub ttl: Duration,
    /// Last generation accepted per matching resource and kind.
    pub generations: Vec<AppliedGeneration>,
}

/// One delivery of a directive.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// What to do.
    pub directive: Directive,
    /// From 1.
    pub attempt: u32,
    /// Resume cursor.
    pub revision: u64,
    /// Report before this moment.
    pub deadline: Timestamp,
}

impl TryFrom<wire::Delivery> for Delivery {
    type Error = convert::Error;
    fn try_from(value: wire::Delivery) -> Result<Self, convert::Error> {
        Ok(Self {
            directive: required(value.directive, "directive")?,
            attempt: value.attempt,
            revision: value.revision,
            deadline: timestamp(value.deadline_unix_ms, "deadline_unix_ms")?,
        })
    }
}

impl From<Delivery> for wire::Delivery {
    fn from(value: Delivery) -> Self {
        let Delivery { directive, attempt, revision, deadline } = value;
        Self {
            directive: Some(directive.into()),
            attempt,
            revision,
            deadline_unix_ms: deadline.as_millisecond(),
        }
    }
}

/// Deliveries as they come.
pub type DeliveryStream = Streamed<wire::Delivery, Delivery>;

/// What Execute did with a report.
pub use crate::wire::ReportDisposition;
/// What became of a delivery.
pub use crate::wire::ReportResult;

/// A report on one delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which directive.
    pub directive_id: Uuid,
    /// Which attempt.
    pub attempt: u32,
    /// Its generation.
    pub generation: Generation,
    /// What became of it.
    pub result: ReportResult,
    /// For people.
    pub detail: String,
    /// Seen before the change.
    pub before: Vec<Observation>,
    /// Seen after it.
    pub after: Vec<Observation>,
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportAnswer {
    /// What was done with it.
    pub disposition: ReportDisposition,
    /// The directive's state now; `None` when Execute does not know the directive.
    pub state: Option<DirectiveState>,
}

/// A conversation about breakers: evidence up, advice down, one answer to each word.
#[derive(Debug)]
pub struct Observing {
    said: mpsc::Sender<wire::ObserveRequest>,
    heard: tonic::Streaming<wire::ObserveResponse>,
}

impl Observing {
    /// Tells of all breakers of this instance, and hears what the fleet advises. `None`: Execute ended the conversation.
    ///
    /// # Errors
    /// When the connection broke or the answer breaks the contract.
    pub async fn tell(&mut self, breakers: Vec<BreakerReport>) -> Result<Option<Vec<BreakerAdvice>>, Error> {
        let call = "Execute.Observe";
        let request = wire::ObserveRequest { breakers: convert::back(breakers), ..Default::default() };
        // Room for one is there: the word before was answered. Without a listener the answer tells that it is over.
        let _ = self.said.try_send(request);
        match self.heard.message().await.map_err(refused(call))? {
            Some(reply) => all(reply.breakers, "breakers").map(Some).map_err(answer(call)),
            None => Ok(None),
        }
    }
}

/// Speaks to Execute.
#[derive(Debug, Clone)]
pub struct Execute {
    inner: ExecuteClient<Channel>,
}

impl Execute {
    /// Over this channel.
    pub fn new(channel: Channel) -> Self {
        let inner = ExecuteClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
        Self { inner }
    }

    /// Registers an actuator.
    ///
    /// # Errors
    /// `AlreadyExists` when another live actuator serves an exclusive kind on the same resource.
    pub async fn register(&self, actuator: ActuatorSpec) -> Result<Registration, Error> {
        let call = "Execute.Register";
        let request = wire::RegisterRequest { actuator: Some(actuator.into()) };
        let reply = self.inner.clone().register(request).await.map_err(refused(call))?.into_inner();
        Ok(Registration {
            lease: Lease { id: reply.lease_id, epoch: reply.epoch },
            ttl: Duration::from_millis(reply.lease_ttl_ms),
            generations: all(reply.generations, "generations").map_err(answer(call))?,
        })
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// `NotFound` when the lease is gone: register again.
    pub async fn keep_alive(&self, lease: &Lease) -> Result<Duration, Error> {
        let request = wire::KeepAliveRequest { lease_id: lease.id.clone(), epoch: lease.epoch };
        let reply = self.inner.clone().keep_alive(request).await.map_err(refused("Execute.KeepAlive"))?;
        Ok(Duration::from_millis(reply.into_inner().lease_ttl_ms))
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// When Execute cannot be reached.
    pub async fn deregister(&self, lease: &Lease) -> Result<(), Error> {
        let request = wire::DeregisterRequest { lease_id: lease.id.clone(), epoch: lease.epoch };
        self.inner.clone().deregister(request).await.map_err(refused("Execute.Deregister"))?;
        Ok(())
    }

    /// Deliveries from after a revision.
    ///
    /// # Errors
    /// `NotFound` when the lease is gone.
    pub async fn subscribe(&self, lease: &Lease, from_revision: u64) -> Result<DeliveryStream, Error> {
        let call = "Execute.Subscribe";
        let request =
            wire::SubscribeRequest { lease_id: lease.id.clone(), epoch: lease.epoch, from_revision };
        let stream = self.inner.clone().subscribe(request).await.map_err(refused(call))?;
        Ok(Streamed::new(call, stream.into_inner()))
    }

    /// Reports on a delivery; may be repeated.
    ///
    /// # Errors
    /// When Execute cannot be reached or the lease is gone.
    pub async fn report(&self, lease: &Lease, report: Report) -> Result<ReportAnswer, Error> {
        let call = "Execute.Report";
        let Report { directive_id, attempt, generation, result, detail, before, after } = report;
        let request = wire::ReportRequest {
            lease_id: lease.id.clone(),
            epoch: lease.epoch,
            directive_id: directive_id.to_string(),
            attempt,
            generation: generation.0,
            result: result as i32,
            detail,
            before: convert::back(before),
            after: convert::back(after),
        };
        let reply = self.inner.clone().report(request).await.map_err(refused(call))?.into_inner();
        let state = match reply.state {
            0 => None,
            state => Some(state.try_into().map_err(answer(call))?),
        };
        Ok(ReportAnswer { disposition: reply.disposition(), state })
    }

    /// Begins a conversation about the breakers of a lease's instance.
    ///
    /// # Errors
    /// `NotFound` when the lease is gone.
    pub async fn observe(&self, lease: &Lease) -> Result<Observing, Error> {
        let call = "Execute.Observe";
        let (mut said, words) = mpsc::channel(1);
        let first =
            wire::ObserveRequest { lease_id: lease.id.clone(), epoch: lease.epoch, ..Default::default() };
        let _ = said.try_send(first);
        let mut heard = self.inner.clone().observe(words).await.map_err(refused(call))?.into_inner();
        // The answer to the first word: the lease is good.
        heard.message().await.map_err(refused(call))?;
        Ok(Observing { said, heard })
    }

    /// Breakers that were heard of within the last seconds; of one edge or of all.
    ///
    /// # Errors
    /// When Execute cannot be reached.
    pub async fn list_breakers(&self, edge: Option<&ResourceId>) -> Result<Vec<BreakerRecord>, Error> {
        let call = "Execute.ListBreakers";
        let request = wire::ListBreakersRequest { edge: edge.map(Into::into) };
        let reply = self.inner.clone().list_breakers(request).await.map_err(refused(call))?.into_inner();
        all(reply.breakers, "breakers").map_err(answer(call))
    }

    /// Has a person's word stand over the mode of an edge's breakers for some time; `None` takes the word back.
    ///
    /// # Errors
    /// `FailedPrecondition` when nobody knows of a breaker on that edge.
    pub async fn override_breaker(
        &self,
        edge: &ResourceId,
        told: Option<(BreakerMode, Duration)>,
        actor: &str,
        reason: &str,
    ) -> Result<DirectiveRecord, Error> {
        let call = "Execute.OverrideBreaker";
        let request = wire::OverrideBreakerRequest {
            edge: Some(edge.into()),
            mode: told.map_or(0, |(mode, _)| mode.into()),
            for_ms: told.map_or(0, |(_, span)| convert::duration_ms(span)),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        let reply = self.inner.clone().override_breaker(request).await.map_err(refused(call))?.into_inner();
        reply.try_into().map_err(answer(call))
    }

    /// Takes an applied directive back.
    ///
    /// # Errors
    /// `FailedPrecondition` when it is not in effect or a newer directive has replaced it.
    pub async fn undo(&self, id: Uuid, actor: &str, reason: &str) -> Result<DirectiveRecord, Error> {
        let call = "Execute.Undo";
        let request = wire::UndoRequest {
            directive_id: id.to_string(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        let reply = self.inner.clone().undo(request).await.map_err(refused(call))?.into_inner();
        reply.try_into().map_err(answer(call))
    }

    /// Stops all acting; tells whether Knowledge holds it too.
    ///
    /// # Errors
    /// When Execute cannot be reached.
    pub async fn pause(&self, reason: &str, actor: &str) -> Result<(PauseState, bool), Error> {
        let call = "Execute.Pause";
        let request = wire::PauseRequest { reason: reason.to_owned(), actor: actor.to_owned() };
        pause_state(call, self.inner.clone().pause(request).await.map_err(refused(call))?.into_inner())
    }

    /// Lets it act again.
    ///
    /// # Errors
    /// When Execute cannot be reached.
    pub async fn resume(&self, reason: &str, actor: &str) -> Result<(PauseState, bool), Error> {
        let call = "Execute.Resume";
        let request = wire::ResumeRequest { reason: reason.to_owned(), actor: actor.to_owned() };
        pause_state(call, self.inner.clone().resume(request).await.map_err(refused(call))?.into_inner())
    }

    /// How the kill switch stands.
    ///
    /// # Errors
    /// When Execute cannot be reached.
    pub async fn pause_status(&self) -> Result<(PauseState, bool), Error> {
        let call = "Execute.GetPauseStatus";
        let reply = self.inner.clone().get_pause_status(wire::GetPauseStatusRequest {}).await;
        pause_state(call, reply.map_err(refused(call))?.into_inner())
    }
}

fn pause_state(call: &'static str, reply: wire::PauseResponse) -> Result<(PauseState, bool), Error> {
    Ok((required(reply.state, "state").map_err(answer(call))?, reply.stored_in_knowledge))
}
