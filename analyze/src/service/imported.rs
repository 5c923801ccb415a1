//! Follows the imported objectives in Knowledge: their documents, what was saved and recorded of them, what people approve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, OnFailure};
use jiff::Timestamp;
use proto::client::Knowledge;
use proto::model::openslo::{self, Document};
use proto::wire::{self, objectives_client::ObjectivesClient};
use tonic::transport::Channel;

use super::core::Core;
use crate::slo::events::Sums;
use crate::slo::live::LiveSpan;
use crate::slo::objective::{ObjectiveSpec, resolve};
use crate::slo::policy::Event;

/// Under which keys objectives are saved.
const PREFIX: &str = "objective/";
/// How they are saved. Others are left alone: an older life may come back.
const FORMAT: u32 = 4;
/// Between two looks: an approval or an import shows within a second.
const EVERY: Duration = Duration::from_secs(1);
/// Between two saves of all; a change of what is in force is saved at once.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Snapshots of one request: Knowledge takes no more.
const REQUEST_MAX: usize = 64;
/// Events looked at for approvals: more in force at once would be no approvals but a script.
const EVENTS_MAX: u32 = 200;
/// How long saving may take at the stop.
const LAST_SAVE: Duration = Duration::from_secs(3);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(super) fn spawn(ctx: &Context, core: Arc<Core>, knowledge: Knowledge, client: ObjectivesClient<Channel>) {
    let stopper = ctx.stopper.clone();
    let clock = ctx.clock.clone();
    ctx.tasks.spawn("analyze-objectives", OnFailure::StopProcess, async move {
        let client = client.max_decoding_message_size(proto::client::MESSAGE_LIMIT_BYTES);
        let mut follower = Follower { core, knowledge, client, revision: 0, restored: false, telling: false };
        let mut saved_at = clock.monotonic();
        loop {
            tokio::select! {
                () = stopper.stopped() => break,
                () = tokio::time::sleep(EVERY) => {}
            }
            let all = clock.monotonic().saturating_sub(saved_at) >= SAVE_EVERY;
            if all {
                saved_at = clock.monotonic();
            }
            match follower.round(clock.now(), all).await {
                Ok(()) => follower.telling = false,
                Err(error) if !follower.telling => {
                    follower.telling = true;
                    tracing::warn!("objectives are not followed now, but later: {error}");
                }
                Err(_) => {}
            }
        }
        if follower.restored {
            let last = tokio::time::timeout(LAST_SAVE, follower.save(clock.now(), true)).await;
            if !matches!(last, Ok(Ok(()))) {
                tracing::warn!("what happened to objectives since the last save is read from their history");
            }
        }
        Ok(())
    });
}

struct Follower {
    core: Arc<Core>,
    knowledge: Knowledge,
    client: ObjectivesClient<Channel>,
    revision: u64,
    restored: bool,
    /// Whether a failure was told already.
    telling: bool,
}

impl Follower {
    async fn round(&mut self, now: Timestamp, all: bool) -> Result<()> {
        if !self.restored {
            self.restore().await?;
        }
        self.documents().await?;
        self.spans(now).await?;
        self.core.book().settle();
        self.approvals(now).await?;
        self.save(now, all).await
    }

    async fn restore(&mut self) -> Result<()> {
        let snapshots = self.knowledge.load_snapshots(PREFIX).await?;
        let known = snapshots.into_iter().filter(|snapshot| snapshot.format == FORMAT);
        let named = known.filter_map(|one| Some((one.key.strip_prefix(PREFIX)?.to_owned(), one.body)));
        let saved: BTreeMap<String, Vec<u8>> = named.collect();
        self.core.book().remember(saved);
        self.restored = true;
        Ok(())
    }

    async fn documents(&mut self) -> Result<()> {
        let request = wire::ListObjectivesRequest { known_revision: self.revision, ..Default::default() };
        let listed = self.client.list_objectives(request).await?.into_inner();
        if listed.revision == self.revision {
            return Ok(());
        }
        let mut documents = Vec::new();
        for document in &listed.documents {
            match openslo::read(&document.body) {
                Ok(read) => documents.extend(read),
                Err(error) => tracing::warn!(name = document.name, "cannot be read: {error}"),
            }
        }
        let (specs, wrong) = resolved(documents);
        tracing::info!(objectives = specs.len(), wrong = wrong.len(), "follows imported objectives");
        self.core.book().replace(specs, wrong);
        self.revision = listed.revision;
        Ok(())
    }

    /// What was recorded before, for objectives of which nothing was saved.
    async fn spans(&mut self, now: Timestamp) -> Result<()> {
        let unread = self.core.book().take_unread();
        for (objective, span) in unread {
            let from = now.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH);
            let request = wire::BudgetHistoryRequest {
                objective: objective.clone(),
                from_unix_ms: from.as_millisecond(),
                to_unix_ms: now.as_millisecond(),
                limit: 0,
                replaced: false,
            };
            let spans = self.client.budget_history(request).await?.into_inner().spans;
            let spans: Vec<LiveSpan> = spans.iter().filter_map(live_span).collect();
            if let Some(live) = self.core.book().get_mut(&objective) {
                live.remember(&spans);
            }
        }
        Ok(())
    }

    async fn approvals(&mut self, now: Timestamp) -> Result<()> {
        let waiting = self.core.book().waiting();
        for (objective, since) in waiting {
            let request =
                wire::ListObjectiveEventsRequest { objective: objective.clone(), limit: EVENTS_MAX };
            let events = self.client.list_objective_events(request).await?.into_inner().events;
            for event in events.iter().filter(|event| event.at_unix_ms >= since.as_millisecond()) {
                let until = Timestamp::from_millisecond(event.until_unix_ms).ok();
                let until = until.filter(|_| event.until_unix_ms != 0);
                let event = match event.kind.as_str() {
                    "approved" => Event::Approved { who: event.actor.clone(), until },
                    "reviewed" => Event::Reviewed,
                    _ => continue,
                };
                self.core.tell(&objective, now, event);
            }
        }
        Ok(())
    }

    async fn save(&mut self, now: Timestamp, all: bool) -> Result<()> {
        let mut saved = self.core.book().take_saved(all).into_iter().peekable();
        while saved.peek().is_some() {
            let some = saved.by_ref().take(REQUEST_MAX);
            let snapshot = |(id, body): (String, Vec<u8>)| wire::Snapshot {
                key: format!("{PREFIX}{id}"),
                format: FORMAT,
                body,
                at_unix_ms: now.as_millisecond(),
            };
            self.knowledge.save_snapshots(some.map(snapshot).collect()).await?;
        }
        Ok(())
    }
}

/// The objectives of documents, without those that are wrong: one mistake must not stop all others from being tracked.
fn resolved(mut documents: Vec<Document>) -> (Vec<ObjectiveSpec>, Vec<(String, String)>) {
    let mut wrong = Vec::new();
    loop {
        match resolve(&documents) {
            Ok(specs) => return (specs, wrong),
            Err(found) => {
                let before = documents.len();
                let bad = |document: &Document| {
                    found.iter().any(|one| {
                        one.kind == document.kind()
                            && one.name.rsplit('/').next() == Some(&document.metadata.name)
                    })
                };
                documents.retain(|document| !bad(document));
                wrong.extend(found.iter().map(|one| (one.name.clone(), one.rule.clone())));
                if documents.len() == before {
                    return (Vec::new(), wrong);
                }
            }
        }
    }
}

fn live_span(span: &wire::BudgetSpan) -> Option<LiveSpan> {
    Some(LiveSpan {
        from: Timestamp::from_millisecond(span.from_unix_ms).ok()?,
        width: Duration::from_millis(span.width_ms),
        sums: Sums { total: span.total, bad: span.bad, known_s: span.known_ms as f64 / 1_000.0 },
        incomplete: span.incomplete,
    })
}
