//! The shards behind their locks, and what goes out of them: assessments to the board, versions to the recorder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::{Context, IdGenerator, SharedClock};
use jiff::Timestamp;
use proto::model::{
    LearnedSignal, ResourceId, SHARDS, SampleBatch, SeasonalityModel, Shard as ShardNumber, Threshold,
    TrackedObjective,
};
use proto::wire::Snapshot;

use super::board::Board;
use super::budgets::Budgets;
use super::objectives::Book;
use super::recorder::Recorder;
use super::seasons::Seasons;
use crate::engine::{Dictionary, Judged, Promise, Shard};
use crate::learn::seasonality::{Finder, KeeperSettings};
use crate::learn::{Priors, Settings};
use crate::metrics::Metrics;
use crate::slo::objective::Promql;
use crate::slo::policy::Event;
use crate::slo::queried::Answer;
use crate::snapshot;
use crate::symptom::standing::Standing;

/// All that the tasks of the service share.
#[derive(Debug)]
pub struct Core {
    shards: Vec<Mutex<Owned>>,
    /// Where assessments are shown.
    pub board: Arc<Board>,
    /// Where versions wait for Knowledge.
    pub recorder: Recorder,
    /// Where what happened to budgets waits for Knowledge.
    pub(super) budgets: Budgets,
    /// Our own telemetry.
    pub metrics: Metrics,
    /// Where models of seasons wait for Knowledge.
    pub(super) seasons: Seasons,
    finder: Mutex<Finder>,
    priors: Mutex<Priors>,
    standing: Mutex<Standing>,
    /// Imported objectives.
    book: Mutex<Book>,
    clock: SharedClock,
}

/// A shard and its own ids, so that one shard does not reshuffle another's.
#[derive(Debug)]
struct Owned {
    shard: Shard,
    ids: IdGenerator,
}

/// What a sender is told of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Rows refused.
    pub refused: u32,
    /// The most frequent reason; empty when none was.
    pub reason: &'static str,
    /// The stream should be opened anew.
    pub outdated: bool,
}

impl Core {
    pub(super) fn new(settings: Settings, metrics: Metrics, ctx: &Context) -> Self {
        let owned = |number| {
            let number = ShardNumber::new(number).expect("below the number of shards");
            Mutex::new(Owned { shard: Shard::new(number, settings), ids: ctx.with_ids(IdGenerator::fork) })
        };
        Self {
            shards: (0..SHARDS).map(owned).collect(),
            board: Arc::default(),
            recorder: Recorder::new(metrics.clone()),
            budgets: Budgets::default(),
            metrics,
            seasons: Seasons::default(),
            finder: Mutex::new(Finder::default()),
            priors: Mutex::default(),
            standing: Mutex::default(),
            book: Mutex::default(),
            clock: ctx.clock.clone(),
        }
    }

    /// Judges one batch.
    pub fn ingest(&self, dictionary: &mut Dictionary, batch: SampleBatch) -> Verdict {
        let (began, now) = (self.clock.monotonic(), self.clock.now());
        let number = batch.shard;
        let judged = self.with(batch.shard, |Owned { shard, ids }| shard.ingest(dictionary, batch, now, ids));
        let most = judged.refused.iter().max_by_key(|(_, rows)| **rows);
        let verdict = Verdict {
            refused: judged.refused.values().sum(),
            reason: most.map_or("", |(refusal, _)| refusal.as_str()),
            outdated: judged.outdated,
        };
        self.teach(number, &judged);
        self.publish(judged);
        self.metrics.batch_duration.observe(self.clock.monotonic().saturating_sub(began).as_secs_f64());
        verdict
    }

    /// Passes on what signals learned to those that are new.
    fn teach(&self, number: ShardNumber, judged: &Judged) {
        if judged.lessons.is_empty() && judged.strangers.is_empty() {
            return;
        }
        let mut priors = self.priors.lock().unwrap_or_else(PoisonError::into_inner);
        judged.lessons.iter().for_each(|lesson| priors.learn(lesson));
        let lent = judged.strangers.iter();
        let lent = lent.filter_map(|(signal, kind)| Some((signal, priors.of(signal.name(), *kind)?)));
        let lent: Vec<_> = lent.collect();
        drop(priors);
        self.with(number, |owned| lent.iter().for_each(|(signal, prior)| owned.shard.lend(signal, *prior)));
    }

    /// Learns from all that was restored what signals can teach each other.
    pub(super) fn gather_lessons(&self) {
        let mut priors = self.priors.lock().unwrap_or_else(PoisonError::into_inner);
        for number in self.numbers() {
            self.with(number, |owned| owned.shard.lessons().for_each(|lesson| priors.learn(&lesson)));
        }
    }

    /// Lets silence speak.
    pub(super) fn expire(&self) {
        let now = self.clock.now();
        let (mut signals, mut open) = (0, 0);
        for number in self.numbers() {
            let (judged, sizes) =
                self.with(number, |Owned { shard, ids }| (shard.expire(now, ids), shard.sizes()));
            (signals, open) = (signals + sizes.0, open + sizes.1);
            self.publish(judged);
        }
        self.metrics.signals.set(i64::try_from(signals).unwrap_or(i64::MAX));
        self.metrics.open_symptoms.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Lets one signal look for its seasons. A search holds its shard for milliseconds, so there is never more than one.
    pub(super) fn seek(&self) {
        let now = self.clock.now();
        let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = KeeperSettings::default();
        let found = self
            .numbers()
            .find_map(|number| self.with(number, |owned| owned.shard.seek(now, &settings, &mut finder)));
        if let Some(model) = found.and_then(|sought| sought.model) {
            self.seasons.push(model);
        }
    }

    /// Follows what Knowledge says of a signal's seasons.
    pub(super) fn season(&self, stored: &SeasonalityModel, is_answer: bool) {
        self.with(stored.signal.resource.shard(), |owned| owned.shard.season(stored, is_answer));
    }

    /// One page of signals, in the order of their text forms; one more than asked tells that there are more.
    #[must_use]
    pub fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<LearnedSignal> {
        let lists =
            self.numbers().map(|number| self.with(number, |owned| owned.shard.list(prefix, after, limit)));
        let by_text: BTreeMap<_, _> =
            lists.flatten().map(|signal| (signal.signal.to_string(), signal)).collect();
        by_text.into_values().take(limit).collect()
    }

    /// Follows what Knowledge says of a threshold.
    pub(super) fn review(&self, version: &Threshold) {
        if self.with(version.signal.resource.shard(), |owned| owned.shard.review(version)) {
            self.metrics.threshold("reviewed", 1);
        }
    }

    /// Follows Knowledge's answer to the recording of a version.
    pub(super) fn recorded(&self, sent: &Threshold, stored: &Threshold) {
        self.with(stored.signal.resource.shard(), |owned| owned.shard.recorded(sent, stored));
    }

    /// Takes off every pin but these signals'.
    pub(super) fn release_pins(&self, pinned: &BTreeSet<String>) {
        self.numbers().for_each(|number| self.with(number, |owned| owned.shard.release_pins(pinned)));
    }

    pub(super) fn declare_all(&self, declared: &BTreeMap<ResourceId, Promise>) {
        let now = self.clock.now();
        for number in self.numbers() {
            let gone = self.with(number, |owned| owned.shard.declare_all(declared, now));
            gone.iter().for_each(|resource| self.remove(resource));
        }
        self.connect(declared.keys());
    }

    pub(super) fn declare(&self, resource: &ResourceId, promise: Promise) {
        let now = self.clock.now();
        self.with(resource.shard(), |owned| owned.shard.declare(resource, promise, now));
    }

    pub(super) fn undeclare(&self, resource: &ResourceId) {
        if self.with(resource.shard(), |owned| owned.shard.undeclare(resource)) {
            self.remove(resource);
        }
    }

    /// Who calls whom has changed.
    pub(super) fn connect<'a>(&self, declared: impl Iterator<Item = &'a ResourceId>) {
        self.standing().connect(calls(declared));
    }

    fn remove(&self, resource: &ResourceId) {
        self.board.remove(resource);
        self.standing().remove(resource);
    }

    /// The imported objectives.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How every imported objective stands.
    pub fn objectives(&self) -> Vec<TrackedObjective> {
        /// About 20 ms of work, for which batches wait.
        const PAGE: usize = 100;
        let now = self.clock.now();
        let mut all: Vec<TrackedObjective> = Vec::new();
        loop {
            let last = all.last().map_or_else(String::new, |last| last.objective.clone());
            let page = self.book().page(&last, PAGE, now);
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        all.extend(self.book().without());
        all.sort_by(|one, other| one.objective.cmp(&other.objective));
        all
    }

    /// What Prometheus servers said to the queries of imported objectives at that moment.
    pub(super) fn answered(&self, at: Timestamp, interval: Duration, answers: &BTreeMap<Promql, Answer>) {
        let news = self.book().answered(at, interval, answers, &|resource| self.board.newest(resource));
        news.iter().for_each(|news| self.budgets.news(news));
    }

    /// Somebody approved or reviewed.
    pub(super) fn tell(&self, objective: &str, now: Timestamp, event: Event) {
        let effects = self.book().told(objective, now, event);
        self.budgets.measures(objective, now, &effects, !effects.is_empty());
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one saved block.
    pub(super) fn restore(&self, number: ShardNumber, snapshot: &Snapshot) {
        let now = self.clock.now();
        let Snapshot { key, format, body, at_unix_ms: _ } = snapshot;
        // Read outside the lock: that takes as long as judging many batches.
        let saved = snapshot::read(*format, body);
        match saved.map(|saved| self.with(number, |owned| saved.adopt(&mut owned.shard, now))) {
            Ok(signals) => {
                self.metrics.snapshot("restored");
                tracing::debug!(key, signals, "restored what was learned");
            }
            Err(error) => {
                let is_format = matches!(error, snapshot::Error::Format(_));
                self.metrics.snapshot(if is_format { "unknown_format" } else { "damaged" });
                tracing::warn!(
                    key,
                    "a saved block is ignored, its signals are learned anew: {}",
                    chassis::chain(&error)
                );
            }
        }
    }

    /// The blocks of a shard that changed since the last call.
    pub(super) fn take_changed(&self, number: ShardNumber) -> Vec<usize> {
        self.with(number, |owned| snapshot::take_changed(&mut owned.shard))
    }

    /// A block as it is now. The shard is locked while it is written, not while it is compressed.
    pub(super) fn block(&self, number: ShardNumber, block: usize) -> Result<Snapshot, snapshot::Error> {
        let at_unix_ms = self.clock.now().as_millisecond();
        let block = self.with(number, |owned| snapshot::write(&owned.shard, block)).compress()?;
        let key = format!("{}{}", key_prefix(number), block.number);
        Ok(Snapshot { key, format: snapshot::FORMAT, body: block.body, at_unix_ms })
    }

    /// A block could not be saved.
    pub(super) fn mark_changed(&self, number: ShardNumber, block: usize) {
        self.with(number, |owned| owned.shard.mark_changed(block));
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = ShardNumber> + use<> {
        (0..SHARDS).filter_map(ShardNumber::new)
    }

    fn publish(&self, mut judged: Judged) {
        self.metrics.count(&judged);
        self.recorder.push(std::mem::take(&mut judged.thresholds));
        for (resource, spans, changes) in std::mem::take(&mut judged.budgets) {
            self.budgets.push(&resource, spans, changes);
        }
        if judged.assessments.is_empty() {
            return;
        }
        let mut standing = self.standing();
        judged.assessments.iter_mut().for_each(|assessment| standing.relate(assessment));
        drop(standing);
        let mut book = self.book();
        let news: Vec<_> = judged.assessments.iter_mut().flat_map(|seen| book.observe(seen)).collect();
        drop(book);
        news.into_iter().for_each(|news| self.budgets.news(&news));
        self.board.post(judged.assessments);
    }

    fn with<T>(&self, number: ShardNumber, use_shard: impl FnOnce(&mut Owned) -> T) -> T {
        let owned = &self.shards[number.number() as usize];
        use_shard(&mut owned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Under which keys the blocks of a shard are saved.
pub(super) fn key_prefix(number: ShardNumber) -> String {
    format!("analyze/{}/", number.number())
}

/// The edges among what is declared, each between its two ends.
fn calls<'a>(
    declared: impl Iterator<Item = &'a ResourceId>,
) -> impl Iterator<Item = (ResourceId, ResourceId, ResourceId)> {
    declared.filter_map(|edge| {
        let (caller, callee) = edge.edge_ends()?;
        let service = |name: &str| ResourceId::service(edge.namespace(), name).ok();
        Some((service(caller)?, edge.clone(), service(callee)?))
    })
}
