//! Closed spans of budgets and alerts on their way to Knowledge: they wait here while it is away, the newest of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use proto::model::ResourceId;
use proto::wire::{self, objectives_client::ObjectivesClient};
use tokio::sync::Notify;
use tonic::transport::Channel;

use super::objectives::News;
use crate::slo::live::LiveSpan;
use crate::slo::policy::Effect;
use crate::slo::{AlertChange, ClosedSpan};

/// Rows that wait: 10,000 objectives with spans of an hour fill it in two hours, at 200 bytes 20 MB.
const WAITING_MAX: usize = 100_000;
/// Rows of one request, below what Knowledge takes.
const REQUEST_MAX: usize = 1_000;
/// A call that takes longer is made anew.
const DEADLINE: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<wire::BudgetSpan>,
    events: VecDeque<wire::ObjectiveEvent>,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Budgets {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Budgets {
    /// Takes over what happened to the objective of a resource. The id of an event follows from what it says, so that told twice
    /// it is stored once.
    pub(super) fn push(&self, resource: &ResourceId, spans: Vec<ClosedSpan>, changes: Vec<AlertChange>) {
        if spans.is_empty() && changes.is_empty() {
            return;
        }
        let objective = resource.to_string();
        let spans = spans.iter().map(|span| {
            let ClosedSpan { from, width, sums } = *span;
            wire_span(&objective, &LiveSpan { from, width, sums, incomplete: false })
        });
        self.put(spans, changes.iter().map(|change| wire_event(&objective, change)));
    }

    /// Takes over what happened to an imported objective.
    pub(super) fn news(&self, news: &News) {
        let News { objective, at, happened, reset } = news;
        let spans = happened.spans.iter().map(|span| wire_span(objective, span));
        self.put(spans, happened.alerts.iter().map(|change| wire_event(objective, change)));
        self.measures(objective, *at, &happened.effects, *reset);
    }

    /// Takes over what a policy begins and ends.
    pub(super) fn measures(&self, objective: &str, at: Timestamp, effects: &[Effect], reset: bool) {
        let mut events: Vec<_> = effects.iter().map(|effect| wire_effect(objective, at, effect)).collect();
        if reset {
            events.push(event(objective, at, "reset", "the reset criteria hold".to_owned()));
        }
        self.put(std::iter::empty(), events.into_iter());
    }

    fn put(
        &self,
        new_spans: impl Iterator<Item = wire::BudgetSpan>,
        new_events: impl Iterator<Item = wire::ObjectiveEvent>,
    ) {
        let mut waiting = self.lock();
        waiting.spans.extend(new_spans);
        waiting.events.extend(new_events);
        let (spans, events) = (waiting.spans.len(), waiting.events.len());
        waiting.spans.drain(..spans.saturating_sub(WAITING_MAX));
        waiting.events.drain(..events.saturating_sub(WAITING_MAX));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Records what waits, again and again.
    pub(super) async fn run(&self, client: ObjectivesClient<Channel>) -> Result<(), tonic::Status> {
        loop {
            let (spans, events) = self.next();
            if spans.is_empty() && events.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let (told, heard) = (spans.len(), events.len());
            let answer = tokio::time::timeout(DEADLINE, send(client.clone(), spans, events));
            match answer.await.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("Knowledge is slow")))
            {
                // The same rows would be refused again and hold up all others.
                Err(status) if status.code() == tonic::Code::InvalidArgument => {
                    self.done(told, heard);
                    return Err(status);
                }
                answer => answer?,
            }
            self.done(told, heard);
        }
    }

    fn next(&self) -> (Vec<wire::BudgetSpan>, Vec<wire::ObjectiveEvent>) {
        let waiting = self.lock();
        let spans = waiting.spans.iter().take(REQUEST_MAX).cloned().collect();
        (spans, waiting.events.iter().take(REQUEST_MAX).cloned().collect())
    }

    /// Rows only ever leave at the old end, so what was sent is what stands first, or is gone already.
    fn done(&self, spans: usize, events: usize) {
        let mut waiting = self.lock();
        let (spans, events) = (spans.min(waiting.spans.len()), events.min(waiting.events.len()));
        waiting.spans.drain(..spans);
        waiting.events.drain(..events);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(
    mut client: ObjectivesClient<Channel>,
    spans: Vec<wire::BudgetSpan>,
    events: Vec<wire::ObjectiveEvent>,
) -> Result<(), tonic::Status> {
    if !spans.is_empty() {
        client.record_budget(wire::RecordBudgetRequest { spans }).await?;
    }
    if !events.is_empty() {
        client.record_objective_events(wire::RecordObjectiveEventsRequest { events }).await?;
    }
    Ok(())
}

fn wire_span(objective: &str, span: &LiveSpan) -> wire::BudgetSpan {
    let width_ms = u64::try_from(span.width.as_millis()).unwrap_or(u64::MAX);
    wire::BudgetSpan {
        objective: objective.to_owned(),
        from_unix_ms: span.from.as_millisecond(),
        width_ms,
        total: span.sums.total,
        // Rounding of split events must not make more bad ones than there are.
        bad: span.sums.bad.min(span.sums.total),
        known_ms: ((span.sums.known_s * 1_000.0).round() as u64).min(width_ms),
        incomplete: span.incomplete,
    }
}

fn wire_event(objective: &str, change: &AlertChange) -> wire::ObjectiveEvent {
    let (kind, word) = if change.opened { ("alert_opened", "opened") } else { ("alert_closed", "closed") };
    let burn = change.burn_rate.map_or_else(|| "unknown".to_owned(), |burn| format!("{burn:.1}"));
    let text = format!("{} {} {word}, burn rate {burn}", change.urgency.as_str(), change.rule);
    let seed = format!("{objective} {} {kind} {}", change.rule, change.at.as_millisecond());
    wire::ObjectiveEvent { id: named_id(&seed).to_string(), ..event(objective, change.at, kind, text) }
}

fn wire_effect(objective: &str, at: Timestamp, effect: &Effect) -> wire::ObjectiveEvent {
    match effect {
        Effect::Begin { measure, step, until, reason } => {
            let until = until.map_or_else(|| "until the reset".to_owned(), |until| format!("until {until}"));
            let text = format!("{measure} ({until}): {reason}");
            let seed = format!("{objective} {measure} {step} begun {}", at.as_millisecond());
            let id = named_id(&seed).to_string();
            wire::ObjectiveEvent { id, ..event(objective, at, "measure_begun", text) }
        }
        Effect::Undo { measure, step, reason } => {
            let seed = format!("{objective} {measure} {step} undone {}", at.as_millisecond());
            let id = named_id(&seed).to_string();
            let text = format!("{measure}: {reason}");
            wire::ObjectiveEvent { id, ..event(objective, at, "measure_undone", text) }
        }
    }
}

fn event(objective: &str, at: Timestamp, kind: &str, text: String) -> wire::ObjectiveEvent {
    wire::ObjectiveEvent {
        id: named_id(&format!("{objective} {kind} {} {text}", at.as_millisecond())).to_string(),
        objective: objective.to_owned(),
        at_unix_ms: at.as_millisecond(),
        kind: kind.to_owned(),
        text,
        actor: String::new(),
        until_unix_ms: 0,
    }
}

/// An id that follows from a text: two rounds of FNV-1a, in the form of a UUID of version 8 (RFC 9562).
fn named_id(text: &str) -> uuid::Uuid {
    let round = |basis: u64| {
        text.bytes().fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (high, low) = (round(0xcbf2_9ce4_8422_2325), round(0x9e37_79b9_7f4a_7c15));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
