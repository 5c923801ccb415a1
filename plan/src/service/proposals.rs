//! Proposals on their way to the ledger. At most one per resource and kind; an answer that says that Plan was behind makes it
//! read again before it plans again.

use crate::{metrics::Metrics, world::World};
use chassis::SharedClock;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use proto::{
    client::{Knowledge, ProposeAnswer, ProposeVerdict},
    model::{Directive, DirectiveRecord, DirectiveState, ResourceId},
};
use std::time::Duration;

/// Proposals on their way at once; more wait for the next tick. At 2,000 durable commits per second they take 0.13 s.
const IN_FLIGHT_MAX: usize = 256;
/// A ledger that has not answered by then is treated as away; whether it stored the directive, its feed will tell.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Directives read again for one resource after an answer that Plan was behind.
const REREAD_MAX: u32 = 32;

/// What came back.
pub(super) struct Answered {
    directive: Directive,
    since: Option<Duration>,
    answer: Result<ProposeAnswer, String>,
    reread: Vec<DirectiveRecord>,
}

/// Proposals on their way.
pub(super) struct Proposals {
    knowledge: Knowledge,
    clock: SharedClock,
    metrics: Metrics,
    in_flight: FuturesUnordered<BoxFuture<'static, Answered>>,
}

impl Proposals {
    pub(super) fn new(knowledge: Knowledge, clock: SharedClock, metrics: Metrics) -> Self {
        Self { knowledge, clock, metrics, in_flight: FuturesUnordered::new() }
    }

    /// The next answer; never, while nothing is on its way.
    pub(super) async fn next(&mut self) -> Option<Answered> {
        if self.in_flight.is_empty() { std::future::pending().await } else { self.in_flight.next().await }
    }

    /// Sends a directive on its way.
    pub(super) fn send(&mut self, directive: Directive, since: Option<Duration>, world: &mut World) {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            self.metrics.vetoes.with_label_values(&["in_flight"]).inc();
            return;
        }
        world.ledger.set_proposing(&directive, true);
        self.metrics.proposed.with_label_values(&[directive.kind().as_str()]).inc();
        self.in_flight.push(Box::pin(propose(self.knowledge.clone(), directive, since)));
    }

    /// Takes an answer in; gives back the resource when it is worth planning again at once. After a failure it is not: the next
    /// tick will do, and a ledger that refuses everything is not asked without end.
    pub(super) fn take_in(&mut self, answered: Answered, world: &mut World) -> Option<ResourceId> {
        let Answered { directive, since, answer, reread } = answered;
        world.ledger.set_proposing(&directive, false);
        if let Some(since) = since {
            self.metrics
                .assessment_to_answer
                .observe(self.clock.monotonic().saturating_sub(since).as_secs_f64());
        }
        let label = match &answer {
            Ok(answer) => verdict(answer.verdict),
            Err(_) => "failed",
        };
        self.metrics.answers.with_label_values(&[label]).inc();
        let (id, resource, kind) = (directive.id, directive.resource.clone(), directive.kind());
        match answer {
            Ok(answer) => {
                let moved = answer.generation != directive.parent_generation;
                let taken =
                    matches!(answer.verdict, ProposeVerdict::Accepted | ProposeVerdict::AlreadyStored);
                if taken {
                    tracing::info!(%id, %resource, action = %directive.action, "proposed: {}", directive.rationale.text);
                    world.note_directive(&stored(directive, &answer, self.clock.now()), None);
                    Some(resource)
                } else {
                    tracing::info!(%id, %resource, verdict = label, "not taken: {}", answer.detail);
                    reread.iter().for_each(|record| world.ledger.put(record));
                    world.ledger.set_generation(&resource, kind, answer.generation);
                    moved.then_some(resource)
                }
            }
            Err(reason) => {
                tracing::warn!(%id, %resource, "cannot propose: {reason}");
                None
            }
        }
    }
}

/// As the ledger holds it now, before its feed says so. Its revision there is the answer's, so that the feed's word replaces it.
fn stored(mut directive: Directive, answer: &ProposeAnswer, now: jiff::Timestamp) -> DirectiveRecord {
    let state = answer.state.unwrap_or(DirectiveState::Issued);
    // Advice consumes no generation.
    if state != DirectiveState::Proposed {
        directive.generation = answer.generation;
    }
    DirectiveRecord {
        directive,
        state,
        revision: answer.revision,
        changed_at: now,
        detail: answer.detail.clone(),
        history: Vec::new(),
    }
}

async fn propose(knowledge: Knowledge, directive: Directive, since: Option<Duration>) -> Answered {
    let asked = async {
        let answer = knowledge.propose(directive.clone()).await.map_err(|error| chassis::chain(&error))?;
        let behind = matches!(answer.verdict, ProposeVerdict::StaleGeneration | ProposeVerdict::UnderWay);
        let reread = if behind {
            let listed = knowledge.list_directives(Some(directive.resource.clone()), &[], REREAD_MAX).await;
            listed.map_err(|error| chassis::chain(&error))?.directives
        } else {
            Vec::new()
        };
        Ok((answer, reread))
    };
    let outcome = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())));
    let (answer, reread) = match outcome {
        Ok((answer, reread)) => (Ok(answer), reread),
        Err(reason) => (Err(reason), Vec::new()),
    };
    Answered { directive, since, answer, reread }
}

fn verdict(verdict: ProposeVerdict) -> &'static str {
    match verdict {
        ProposeVerdict::Unspecified => "unspecified",
        ProposeVerdict::Accepted => "accepted",
        ProposeVerdict::AlreadyStored => "already_stored",
        ProposeVerdict::StaleGeneration => "stale_generation",
        ProposeVerdict::UnderWay => "under_way",
    }
}
