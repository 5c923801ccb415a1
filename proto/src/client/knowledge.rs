//! Knowledge's client.

use super::{Error, MESSAGE_LIMIT_BYTES, Streamed, answer, refused};
use crate::{
    convert::{self, Error as Invalid, all, required, timestamp},
    model::{
        ActuatorRecord, ActuatorSpec, AppliedGeneration, Declared, DeclaredKind, Directive, DirectiveRecord,
        DirectiveState, FeedbackSignal, Generation, Lease, Outcome, PauseState, ResourceId, SignalId,
        Threshold, ThresholdReview, Transition,
    },
    wire::{self, change::Change as WireChange, knowledge_client::KnowledgeClient},
};
use jiff::Timestamp;
use std::time::Duration;
use tonic::transport::Channel;
use uuid::Uuid;

/// Knowledge's answer to a proposal.
pub use crate::wire::ProposeVerdict;

/// Declared documents at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredList {
    /// By kind, namespace and name.
    pub documents: Vec<Declared>,
    /// Follow from here.
    pub revision: u64,
}

/// Directives at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectiveList {
    /// Newest first.
    pub directives: Vec<DirectiveRecord>,
    /// Follow from here.
    pub revision: u64,
}

/// One page of thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdPage {
    /// By signal.
    pub thresholds: Vec<Threshold>,
    /// Follow from here.
    pub revision: u64,
    /// Whether more follow.
    pub more: bool,
}

/// The answer to a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposeAnswer {
    /// Whether it was taken.
    pub verdict: ProposeVerdict,
    /// The generation now current for (resource, kind).
    pub generation: Generation,
    /// The directive's state, when it is stored.
    pub state: Option<DirectiveState>,
    /// Ledger revision.
    pub revision: u64,
    /// Why not, for people.
    pub detail: String,
}

/// The answer to one transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransitionAnswer {
    /// Whether it was recorded.
    pub recorded: bool,
    /// The state now; `None` when there is no such directive.
    pub state: Option<DirectiveState>,
    /// Ledger revision.
    pub revision: u64,
}

/// A person's verdict on a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Which directive.
    pub id: Uuid,
    /// Yes or no.
    pub approve: bool,
    /// Who.
    pub reviewer: String,
    /// Why.
    pub reason: String,
}

/// A person's verdict on a threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdDecision {
    /// Whose threshold.
    pub signal: SignalId,
    /// What to do.
    pub review: ThresholdReview,
    /// For approve and reject; 0: the newest proposal.
    pub generation: u64,
    /// For pin.
    pub lower: Option<f64>,
    /// For pin.
    pub upper: Option<f64>,
    /// Who.
    pub reviewer: String,
    /// Why.
    pub reason: String,
}

/// One committed change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// In order, without gaps.
    pub revision: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// What changed.
    pub event: ChangeEvent,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeEvent {
    /// A document was applied.
    Applied(Box<Declared>),
    /// A document was deleted.
    Deleted(DeclaredKind, String, String),
    /// A threshold version was recorded or reviewed.
    Threshold(Box<Threshold>),
    /// A directive was proposed or moved.
    Directive(Box<DirectiveRecord>),
    /// An actuator registered or left.
    Actuator(Box<ActuatorRecord>),
    /// The kill switch.
    Pause(PauseState),
    /// The asked revision is no longer kept: read the lists again and follow from `revision`.
    Compacted,
}

impl TryFrom<wire::Change> for Change {
    type Error = Invalid;
    fn try_from(value: wire::Change) -> Result<Self, Invalid> {
        let event = match value.change.ok_or_else(|| Invalid::missing("change"))? {
            WireChange::Applied(document) => ChangeEvent::Applied(Box::new(document.try_into()?)),
            WireChange::Deleted(gone) => {
                ChangeEvent::Deleted(gone.kind.try_into()?, gone.namespace, gone.name)
            }
            WireChange::Threshold(threshold) => ChangeEvent::Threshold(Box::new(threshold.try_into()?)),
            WireChange::Directive(directive) => ChangeEvent::Directive(Box::new(directive.try_into()?)),
            WireChange::Actuator(actuator) => ChangeEvent::Actuator(Box::new(actuator.try_into()?)),
            WireChange::Pause(pause) => ChangeEvent::Pause(pause.try_into()?),
            WireChange::Compacted(_) => ChangeEvent::Compacted,
        };
        Ok(Self { revision: value.revision, at: timestamp(value.at_unix_ms, "at_unix_ms")?, event })
    }
}

impl From<Change> for wire::Change {
    fn from(value: Change) -> Self {
        let change = match value.event {
            ChangeEvent::Applied(document) => WireChange::Applied((*document).into()),
            ChangeEvent::Deleted(kind, namespace, name) => {
                WireChange::Deleted(wire::DeletedDocument { kind: kind.into(), namespace, name })
            }
            ChangeEvent::Threshold(threshold) => WireChange::Threshold((*threshold).into()),
            ChangeEvent::Directive(directive) => WireChange::Directive((*directive).into()),
            ChangeEvent::Actuator(actuator) => WireChange::Actuator((*actuator).into()),
            ChangeEvent::Pause(pause) => WireChange::Pause(pause.into()),
            ChangeEvent::Compacted => {
                WireChange::Compacted(wire::Compacted { oldest_revision: value.revision })
            }
        };
        Self { revision: value.revision, at_unix_ms: value.at.as_millisecond(), change: Some(change) }
    }
}

/// Changes as they are committed.
pub type ChangeStream = Streamed<wire::Change, Change>;
/// Directives as they change.
pub type DirectiveStream = Streamed<wire::DirectiveRecord, DirectiveRecord>;

/// Speaks to Knowledge.
#[derive(Debug, Clone)]
pub struct Knowledge {
    inner: KnowledgeClient<Channel>,
}

/// Sends one request and unwraps the reply.
macro_rules! ask {
    ($self:ident.$method:ident($request:expr), $call:literal) => {
        $self.inner.clone().$method($request).await.map_err(refused($call))?.into_inner()
    };
}

impl Knowledge {
    /// Over this channel.
    pub fn new(channel: Channel) -> Self {
        let inner = KnowledgeClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
        Self { inner }
    }

    /// The generated client.
    pub fn raw(&self) -> KnowledgeClient<Channel> {
        self.inner.clone()
    }

    /// Stores documents, all or none; gives them back with their versions.
    ///
    /// # Errors
    /// When one is refused or Knowledge cannot be reached.
    pub async fn apply(&self, documents: Vec<Declared>) -> Result<Vec<Declared>, Error> {
        let request = wire::ApplyRequest { documents: convert::back(documents) };
        let reply = ask!(self.apply(request), "Knowledge.Apply");
        all(reply.documents, "documents").map_err(answer("Knowledge.Apply"))
    }

    /// Declared documents; `None` and empty texts mean all.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list_declared(
        &self,
        kind: Option<DeclaredKind>,
        namespace: &str,
        name: &str,
    ) -> Result<DeclaredList, Error> {
        let request = wire::ListDeclaredRequest {
            kind: kind.map_or(0, i32::from),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        };
        let reply = ask!(self.list_declared(request), "Knowledge.ListDeclared");
        let documents = all(reply.documents, "documents").map_err(answer("Knowledge.ListDeclared"))?;
        Ok(DeclaredList { documents, revision: reply.revision })
    }

    /// Deletes one document; tells whether it was there.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn delete_declared(
        &self,
        kind: DeclaredKind,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Error> {
        let request = wire::DeleteDeclaredRequest {
            kind: kind.into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Ok(ask!(self.delete_declared(request), "Knowledge.DeleteDeclared").deleted)
    }

    /// Records threshold versions; gives them back as stored.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn record_thresholds(&self, thresholds: Vec<Threshold>) -> Result<Vec<Threshold>, Error> {
        let request = wire::RecordThresholdsRequest { thresholds: convert::back(thresholds) };
        let reply = ask!(self.record_thresholds(request), "Knowledge.RecordThresholds");
        all(reply.thresholds, "thresholds").map_err(answer("Knowledge.RecordThresholds"))
    }

    /// One page of thresholds.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list_thresholds(
        &self,
        prefix: &str,
        current_only: bool,
        after: &str,
    ) -> Result<ThresholdPage, Error> {
        let request = wire::ListThresholdsRequest {
            signal_prefix: prefix.to_owned(),
            current_only,
            page_size: 0,
            after_signal: after.to_owned(),
        };
        let reply = ask!(self.list_thresholds(request), "Knowledge.ListThresholds");
        let thresholds = all(reply.thresholds, "thresholds").map_err(answer("Knowledge.ListThresholds"))?;
        Ok(ThresholdPage { thresholds, revision: reply.revision, more: reply.more })
    }

    /// Versions of one threshold, newest first.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn threshold_history(&self, signal: SignalId, limit: u32) -> Result<Vec<Threshold>, Error> {
        let request = wire::ThresholdHistoryRequest { signal: Some(signal.into()), limit };
        let reply = ask!(self.threshold_history(request), "Knowledge.ThresholdHistory");
        all(reply.thresholds, "thresholds").map_err(answer("Knowledge.ThresholdHistory"))
    }

    /// A person's verdict on a threshold.
    ///
    /// # Errors
    /// `NotFound` when there is nothing to review.
    pub async fn review_threshold(&self, decision: ThresholdDecision) -> Result<Threshold, Error> {
        let ThresholdDecision { signal, review, generation, lower, upper, reviewer, reason } = decision;
        let request = wire::ReviewThresholdRequest {
            signal: Some(signal.into()),
            review: review.into(),
            generation,
            lower,
            upper,
            reviewer,
            reason,
        };
        let reply = ask!(self.review_threshold(request), "Knowledge.ReviewThreshold");
        required(reply.threshold, "threshold").map_err(answer("Knowledge.ReviewThreshold"))
    }

    /// Offers a directive to the ledger.
    ///
    /// # Errors
    /// When Knowledge cannot be reached; a refusal is an answer, not an error.
    pub async fn propose(&self, directive: Directive) -> Result<ProposeAnswer, Error> {
        let call = "Knowledge.Propose";
        let request = wire::ProposeRequest { directive: Some(directive.into()) };
        let reply = ask!(self.propose(request), "Knowledge.Propose");
        let state = state(reply.state).map_err(answer(call))?;
        let verdict = reply.verdict();
        Ok(ProposeAnswer {
            verdict,
            generation: Generation(reply.generation),
            state,
            revision: reply.revision,
            detail: reply.detail,
        })
    }

    /// Moves directives along their life.
    ///
    /// # Errors
    /// When Knowledge cannot be reached; a lost compare-and-set is an answer.
    pub async fn record_transitions(
        &self,
        transitions: Vec<Transition>,
    ) -> Result<Vec<TransitionAnswer>, Error> {
        let call = "Knowledge.RecordTransitions";
        let request = wire::RecordTransitionsRequest { transitions: convert::back(transitions) };
        let reply = ask!(self.record_transitions(request), "Knowledge.RecordTransitions");
        let one = |result: wire::TransitionResult| {
            Ok(TransitionAnswer {
                recorded: result.recorded,
                state: state(result.state)?,
                revision: result.revision,
            })
        };
        reply.results.into_iter().map(one).collect::<Result<_, _>>().map_err(answer(call))
    }

    /// Directives, newest first. No resource and no states: all.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list_directives(
        &self,
        resource: Option<ResourceId>,
        states: &[DirectiveState],
        limit: u32,
    ) -> Result<DirectiveList, Error> {
        let request = wire::ListDirectivesRequest {
            resource: resource.map(Into::into),
            states: states.iter().map(|state| i32::from(*state)).collect(),
            limit,
        };
        let reply = ask!(self.list_directives(request), "Knowledge.ListDirectives");
        let directives = all(reply.directives, "directives").map_err(answer("Knowledge.ListDirectives"))?;
        Ok(DirectiveList { directives, revision: reply.revision })
    }

    /// One directive with its history.
    ///
    /// # Errors
    /// `NotFound` when there is none of that id.
    pub async fn get_directive(&self, id: Uuid) -> Result<DirectiveRecord, Error> {
        let request = wire::GetDirectiveRequest { id: id.to_string() };
        ask!(self.get_directive(request), "Knowledge.GetDirective")
            .try_into()
            .map_err(answer("Knowledge.GetDirective"))
    }

    /// A person's verdict on a directive.
    ///
    /// # Errors
    /// `FailedPrecondition` when it does not await approval.
    pub async fn review_directive(&self, review: Review) -> Result<DirectiveRecord, Error> {
        let Review { id, approve, reviewer, reason } = review;
        let request = wire::ReviewDirectiveRequest { id: id.to_string(), approve, reviewer, reason };
        ask!(self.review_directive(request), "Knowledge.ReviewDirective")
            .try_into()
            .map_err(answer("Knowledge.ReviewDirective"))
    }

    /// Directives as they change: from a snapshot of all that are under way or in effect, or from after a revision.
    ///
    /// # Errors
    /// When the stream cannot be opened.
    pub async fn watch_directives(
        &self,
        from_revision: u64,
        snapshot: bool,
    ) -> Result<DirectiveStream, Error> {
        let request = wire::WatchDirectivesRequest { from_revision, snapshot };
        Ok(Streamed::new(
            "Knowledge.WatchDirectives",
            ask!(self.watch_directives(request), "Knowledge.WatchDirectives"),
        ))
    }

    /// Grants a lease.
    ///
    /// # Errors
    /// `AlreadyExists` when another live actuator serves an exclusive kind on the same resource.
    pub async fn grant_lease(
        &self,
        actuator: ActuatorSpec,
        ttl: Duration,
    ) -> Result<(Lease, Vec<AppliedGeneration>), Error> {
        let request =
            wire::GrantLeaseRequest { actuator: Some(actuator.into()), ttl_ms: convert::duration_ms(ttl) };
        let reply = ask!(self.grant_lease(request), "Knowledge.GrantLease");
        let generations = all(reply.generations, "generations").map_err(answer("Knowledge.GrantLease"))?;
        Ok((Lease { id: reply.lease_id, epoch: reply.epoch }, generations))
    }

    /// Renews a lease; false when it is gone.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<bool, Error> {
        let request = wire::RenewLeaseRequest {
            lease_id: lease.id.clone(),
            epoch: lease.epoch,
            ttl_ms: convert::duration_ms(ttl),
        };
        Ok(ask!(self.renew_lease(request), "Knowledge.RenewLease").held)
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        let request = wire::ReleaseLeaseRequest { lease_id: lease.id.clone(), epoch: lease.epoch };
        ask!(self.release_lease(request), "Knowledge.ReleaseLease");
        Ok(())
    }

    /// Registered actuators.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list_actuators(&self, live_only: bool) -> Result<Vec<ActuatorRecord>, Error> {
        let reply =
            ask!(self.list_actuators(wire::ListActuatorsRequest { live_only }), "Knowledge.ListActuators");
        all(reply.actuators, "actuators").map_err(answer("Knowledge.ListActuators"))
    }

    /// Stores verdicts.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn record_outcomes(&self, outcomes: Vec<Outcome>) -> Result<(), Error> {
        let request = wire::RecordOutcomesRequest { outcomes: convert::back(outcomes) };
        ask!(self.record_outcomes(request), "Knowledge.RecordOutcomes");
        Ok(())
    }

    /// Verdicts, newest first; `None`: of all directives.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list_outcomes(&self, directive: Option<Uuid>, limit: u32) -> Result<Vec<Outcome>, Error> {
        let directive_id = directive.map(|id| id.to_string()).unwrap_or_default();
        let reply = ask!(
            self.list_outcomes(wire::ListOutcomesRequest { directive_id, limit }),
            "Knowledge.ListOutcomes"
        );
        all(reply.outcomes, "outcomes").map_err(answer("Knowledge.ListOutcomes"))
    }

    /// Stores feedback signals; tells how many were new.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn record_feedback(&self, signals: Vec<FeedbackSignal>) -> Result<u64, Error> {
        let request = wire::RecordFeedbackRequest { signals: convert::back(signals) };
        Ok(ask!(self.record_feedback(request), "Knowledge.RecordFeedback").stored)
    }

    /// Feedback signals, newest first; `None`: of all directives.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn list_feedback(
        &self,
        directive: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<FeedbackSignal>, Error> {
        let directive_id = directive.map(|id| id.to_string()).unwrap_or_default();
        let reply = ask!(
            self.list_feedback(wire::ListFeedbackRequest { directive_id, limit }),
            "Knowledge.ListFeedback"
        );
        all(reply.signals, "signals").map_err(answer("Knowledge.ListFeedback"))
    }

    /// Writes the kill switch's memory; gives back what holds after merging.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn set_pause(&self, state: &PauseState) -> Result<PauseState, Error> {
        let PauseState { paused, counter, reason, actor, at: _ } = state.clone();
        let request = wire::SetPauseRequest { paused, counter, reason, actor };
        ask!(self.set_pause(request), "Knowledge.SetPause").try_into().map_err(answer("Knowledge.SetPause"))
    }

    /// The kill switch as Knowledge remembers it.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn get_pause(&self) -> Result<PauseState, Error> {
        ask!(self.get_pause(wire::GetPauseRequest {}), "Knowledge.GetPause")
            .try_into()
            .map_err(answer("Knowledge.GetPause"))
    }

    /// Every change after a revision, in order.
    ///
    /// # Errors
    /// When the stream cannot be opened.
    pub async fn watch_changes(&self, from_revision: u64) -> Result<ChangeStream, Error> {
        let request = wire::WatchChangesRequest { from_revision };
        Ok(Streamed::new(
            "Knowledge.WatchChanges",
            ask!(self.watch_changes(request), "Knowledge.WatchChanges"),
        ))
    }

    /// Stores learner snapshots: key, format and body.
    ///
    /// # Errors
    /// When Knowledge cannot be reached.
    pub async fn save_snapshots(&self, snapshots: Vec<wire::Snapshot>) -> Result<(), Error> {
        ask!(self.save_snapshots(wire::SaveSnapshotsRequest { snapshots }), "Knowledge.SaveSnapshots");
        Ok(())
    }

    /// Loads every snapshot whose key has this prefix.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn load_snapshots(&self, key_prefix: &str) -> Result<Vec<wire::Snapshot>, Error> {
        let request = wire::LoadSnapshotsRequest { key_prefix: key_prefix.to_owned() };
        let mut stream = ask!(self.load_snapshots(request), "Knowledge.LoadSnapshots");
        let mut snapshots = Vec::new();
        while let Some(snapshot) = stream.message().await.map_err(refused("Knowledge.LoadSnapshots"))? {
            snapshots.push(snapshot);
        }
        Ok(snapshots)
    }
}

fn state(value: i32) -> Result<Option<DirectiveState>, Invalid> {
    if value == 0 { Ok(None) } else { DirectiveState::try_from(value).map(Some) }
}
