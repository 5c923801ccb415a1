//! The one writer to the ledger: groups what is ready, keeps order, repeats until Knowledge answers. A lost compare-and-set
//! means that the ledger knows better: it is read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Backoff, Context, chain};
use proto::client::{self, TransitionAnswer};
use proto::model::{DirectiveRecord, Transition};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::errands::Errand;
use super::shared::{Entry, Shared};

/// Entries in one group: large enough that 2,000 directives per second take a few groups per second, small enough that one
/// answer comes within tens of milliseconds.
const GROUP_MAX: usize = 2_000;

/// Soon after a restart of Knowledge, and never more than a second late.
const RETRY: Backoff =
    Backoff { initial: Duration::from_millis(20), factor: 2.0, max: Duration::from_secs(1), jitter: 0.2 };

/// Why a group was given up: we stop, and whoever waits for it will ask again.
#[derive(Debug)]
struct Stopping;

/// Writes to the ledger.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    ctx: Context,
    errands: mpsc::UnboundedSender<Errand>,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>, ctx: Context, errands: mpsc::UnboundedSender<Errand>) -> Self {
        Self { shared, ctx, errands }
    }

    /// Until stopped, and then until the queue is empty or Knowledge does not answer.
    pub(super) async fn run(self) {
        loop {
            let entries = self.shared.take_entries(GROUP_MAX);
            if entries.is_empty() {
                tokio::select! {
                    () = self.shared.entries.notified() => {}
                    () = self.ctx.stopper.stopped() => return,
                }
                continue;
            }
            if self.write(entries).await.is_err() {
                return;
            }
            self.shared.settle_entries();
        }
    }

    /// Verdicts first: the step to a verdict's state says that the verdict is stored.
    async fn write(&self, entries: Vec<Entry>) -> Result<(), Stopping> {
        let (mut steps, mut outcomes, mut feedback, mut errands) = (vec![], vec![], vec![], vec![]);
        for entry in entries {
            match entry {
                Entry::Record(step) => steps.push(step),
                Entry::Verdict(outcome, signals) => {
                    self.shared.metrics.verdicts.with_label_values(&[outcome.result.as_str()]).inc();
                    tracing::info!(directive = %outcome.directive_id, result = %outcome.result, "judged: {}", outcome.text);
                    outcomes.push(*outcome);
                    feedback.extend(signals);
                }
                Entry::Propose(directive) => errands.push(Errand::Propose(directive)),
                Entry::Fetch(id) => errands.push(Errand::Fetch(id)),
            }
        }
        let knowledge = &self.shared.knowledge;
        self.all("outcomes", outcomes, |some| knowledge.record_outcomes(some)).await?;
        self.all("feedback", feedback, async |some| knowledge.record_feedback(some).await.map(drop)).await?;
        self.steps(steps).await?;
        // Whoever reads them is gone only when we are stopping.
        errands.into_iter().for_each(|errand| drop(self.errands.send(errand)));
        Ok(())
    }

    /// Stores all; what Knowledge refuses for good is left out, and the rest goes on.
    async fn all<T, F>(
        &self,
        what: &'static str,
        items: Vec<T>,
        call: impl Fn(Vec<T>) -> F,
    ) -> Result<(), Stopping>
    where
        T: Clone,
        F: Future<Output = Result<(), client::Error>>,
    {
        if items.is_empty() || self.repeat(|| call(items.clone())).await?.is_ok() {
            return Ok(());
        }
        // One bad item must not hold up the others.
        for item in items {
            if let Err(error) = self.repeat(|| call(vec![item.clone()])).await? {
                tracing::error!("Knowledge refuses {what}: {}", chain(&error));
                self.shared.metrics.transitions_lost.with_label_values(&[what]).inc();
            }
        }
        Ok(())
    }

    async fn steps(&self, steps: Vec<Transition>) -> Result<(), Stopping> {
        let knowledge = &self.shared.knowledge;
        if steps.is_empty() {
            return Ok(());
        }
        if let Ok(answers) = self.repeat(|| knowledge.record_transitions(steps.clone())).await? {
            return self.compare(&steps, &answers).await;
        }
        for step in steps {
            let one = [step];
            match self.repeat(|| knowledge.record_transitions(one.to_vec())).await? {
                Ok(answers) => self.compare(&one, &answers).await?,
                Err(error) => {
                    tracing::error!(directive = %one[0].directive_id, "Knowledge refuses a step: {}", chain(&error));
                    self.lost(one[0].directive_id, "refused").await?;
                }
            }
        }
        Ok(())
    }

    /// A group may be repeated after its answer got lost, so a step counts as recorded when the directive stands where its
    /// last step of the group leads.
    async fn compare(&self, steps: &[Transition], answers: &[TransitionAnswer]) -> Result<(), Stopping> {
        let last: HashMap<Uuid, bool> = steps
            .iter()
            .zip(answers)
            .map(|(step, answer)| (step.directive_id, answer.recorded || answer.state == Some(step.to)))
            .collect();
        let mut lost = HashSet::new();
        let mut counts = BTreeMap::<_, u64>::new();
        self.shared.with(|engine, _| {
            for (step, answer) in steps.iter().zip(answers) {
                if last.get(&step.directive_id) == Some(&true) {
                    engine.recorded(step.directive_id, answer.revision);
                    *counts.entry(step.to).or_default() += 1;
                } else {
                    lost.insert(step.directive_id);
                }
            }
        });
        for (state, count) in counts {
            self.shared.metrics.transitions.with_label_values(&[state.as_str()]).inc_by(count);
        }
        for id in lost {
            self.lost(id, "compare_and_set").await?;
        }
        Ok(())
    }

    /// The ledger is right: reads the directive again, and lets go of steps that no longer follow.
    async fn lost(&self, id: Uuid, reason: &str) -> Result<(), Stopping> {
        self.shared.metrics.transitions_lost.with_label_values(&[reason]).inc();
        let read = self.repeat(|| self.shared.knowledge.get_directive(id)).await?;
        match read {
            Ok(record) => {
                let DirectiveRecord { state, .. } = &record;
                tracing::warn!(directive = %id, %state, "the ledger knows better");
                self.shared.overrule(id, |engine, now| engine.adopt(record, now.wall));
            }
            Err(error) => {
                tracing::error!(directive = %id, "cannot be read again: {}", chain(&error));
                self.shared.overrule(id, |engine, _| engine.forget(id));
            }
        }
        Ok(())
    }

    /// Asks until Knowledge answers; an answer may be a refusal.
    async fn repeat<T, F>(&self, call: impl Fn() -> F) -> Result<Result<T, client::Error>, Stopping>
    where
        F: Future<Output = Result<T, client::Error>>,
    {
        let mut attempt = 0;
        loop {
            match call().await {
                Err(error) if error.is_transient() => {
                    if self.ctx.stopper.is_stopped() {
                        tracing::warn!("Knowledge did not answer at the end: {}", chain(&error));
                        return Err(Stopping);
                    }
                    if attempt == 0 {
                        tracing::warn!("Knowledge does not answer, trying again: {}", chain(&error));
                    }
                    let wait = RETRY.delay(attempt, self.ctx.with_ids(|ids| ids.unit_f64()));
                    attempt = attempt.saturating_add(1);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.ctx.stopper.stopped() => {}
                    }
                }
                answer => return Ok(answer),
            }
        }
    }
}
