//! The state of one shard: batches of samples in, assessments out. Deterministic: the same batches, times and ids give the same
//! assessments.

mod ahead;
mod declare;
mod name;
mod resource;
mod review;
mod seasons;
mod signal;
mod slots;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use chassis::IdGenerator;
use jiff::{SignedDuration, Timestamp};
use proto::model::{
    Assessment, DataGap, LearnedSignal, ResourceId, Sample, SampleBatch, Shard as ShardNumber,
    SignalDescriptor, SignalId, SignalKind, SymptomKind, Threshold,
};

pub use declare::Promise;
pub use seasons::Sought;
pub use slots::SlotRef;

pub(crate) use resource::Resource;
pub(crate) use signal::Signal;

use crate::detect::residual::Learned;
use crate::learn::{Lesson, Prior, Settings};
use crate::slo::{AlertChange, ClosedSpan};
use crate::symptom::Transition;
use resource::Moment;
use slots::Slots;

/// Signals of one shard: a million over 64 shards is 15,625; four times that, for shards that got more than their share.
const SIGNALS_MAX: usize = 62_500;
/// Handles of one stream. Monitor starts a new stream at a million.
const HANDLES_MAX: u32 = 1 << 20;
/// Undeclared signals that were silent for this long are forgotten,
const IDLE_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// which is looked after this often, and not before this much time to be heard of again after a restart.
const EVICTION_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// Signals of one saved block.
pub const BLOCK_SIGNALS: usize = 4_096;

/// Why a row was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Its handle was never introduced on this stream, or what it meant is forgotten.
    UnknownHandle,
    /// Its signal belongs to another shard.
    WrongShard,
    /// The shard holds as many signals as it may.
    Full,
    /// A sample of that time or a later one was judged already.
    NotNewer,
    /// It is ahead of our clock.
    FromTheFuture,
    /// It is no number, or one so large that nothing can be reckoned with it.
    NotFinite,
    /// The batch does not say what interval a row stands for.
    NoInterval,
}

impl Refusal {
    /// The label in metrics and acknowledgements.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownHandle => "unknown_handle",
            Self::WrongShard => "wrong_shard",
            Self::Full => "full",
            Self::NotNewer => "not_newer",
            Self::FromTheFuture => "from_the_future",
            Self::NotFinite => "not_finite",
            Self::NoInterval => "no_interval",
        }
    }
}

/// What the handles of one stream mean. It belongs to the stream, not to a shard.
#[derive(Debug, Default)]
pub struct Dictionary {
    entries: Vec<Option<(u32, SlotRef)>>,
}

impl Dictionary {
    fn set(&mut self, handle: u32, entry: Option<(u32, SlotRef)>) -> bool {
        if handle >= HANDLES_MAX {
            return false;
        }
        let index = handle as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, None);
        }
        self.entries[index] = entry;
        true
    }

    fn get(&self, handle: u32, shard: ShardNumber) -> Result<SlotRef, Refusal> {
        match self.entries.get(handle as usize) {
            Some(Some((number, slot))) if *number == shard.number() => Ok(*slot),
            Some(Some(_)) => Err(Refusal::WrongShard),
            _ => Err(Refusal::UnknownHandle),
        }
    }
}

/// What came of one batch, or of waiting.
#[derive(Debug, Default)]
pub struct Judged {
    /// One for each declared resource and tick.
    pub assessments: Vec<Assessment>,
    /// Versions that were put in force, to be recorded.
    pub thresholds: Vec<Threshold>,
    /// What signals have learned, for others of the same name and kind.
    pub lessons: Vec<Lesson>,
    /// Signals that were never heard of before.
    pub strangers: Vec<(SignalId, SignalKind)>,
    /// Candidates that failed their shadow run.
    pub discarded: u64,
    /// Rows judged or taken as unknown.
    pub accepted: u32,
    /// Rows refused, by reason.
    pub refused: BTreeMap<Refusal, u32>,
    /// What happened to symptoms.
    pub transitions: Vec<(SymptomKind, Transition)>,
    /// Closed spans and alerts of objectives.
    pub budgets: Vec<(ResourceId, Vec<ClosedSpan>, Vec<AlertChange>)>,
    /// The stream's handles are no longer all known here: only a new stream introduces them again.
    pub outdated: bool,
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    number: ShardNumber,
    settings: Settings,
    signals: Slots<Signal>,
    resources: Slots<Resource>,
    /// Places of the resources by what the texts of their signals begin with.
    by_prefix: BTreeMap<Box<str>, u32>,
    changed: BTreeSet<usize>,
    eviction_at: Option<Timestamp>,
    /// Versions of signals that were not heard of yet.
    early: BTreeMap<String, Vec<Threshold>>,
    /// The signal that was asked last whether it is time to look for seasons.
    asked: u32,
}

impl Shard {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(number: ShardNumber, settings: Settings) -> Self {
        Self {
            number,
            settings,
            signals: Slots::default(),
            resources: Slots::default(),
            by_prefix: BTreeMap::new(),
            changed: BTreeSet::new(),
            eviction_at: None,
            early: BTreeMap::new(),
            asked: 0,
        }
    }

    /// Judges the rows of a batch in the order of their times, and assesses every declared resource that they are about.
    pub fn ingest(
        &mut self,
        dictionary: &mut Dictionary,
        batch: SampleBatch,
        now: Timestamp,
        ids: &mut IdGenerator,
    ) -> Judged {
        let mut judged = Judged::default();
        let SampleBatch { descriptors, mut samples, interval, gaps, shard: _, sender: _, sequence: _ } =
            batch;
        if interval.is_zero() {
            judged.refused.insert(Refusal::NoInterval, u32::try_from(samples.len()).unwrap_or(u32::MAX));
            return judged;
        }
        for descriptor in descriptors {
            self.introduce(dictionary, descriptor, now, &mut judged.strangers);
        }
        let gaps: BTreeMap<_, _> = gaps.iter().map(|gap| (&gap.resource, gap)).collect();
        if !samples.is_sorted_by_key(|sample| sample.at) {
            samples.sort_by_key(|sample| sample.at);
        }
        for tick in samples.chunk_by(|a, b| a.at == b.at) {
            let touched = self.judge(dictionary, tick, interval, now, &mut judged);
            for resource in touched {
                self.assess(resource, tick[0].at, &gaps, ids, &mut judged);
            }
        }
        judged
    }

    /// Tells of declared resources from which nothing has arrived for more than two intervals that they are unknown.
    pub fn expire(&mut self, now: Timestamp, ids: &mut IdGenerator) -> Judged {
        let mut judged = Judged::default();
        for place in self.by_prefix.values().copied().collect::<Vec<_>>() {
            let Some(resource) = self.resources.get_mut(place).filter(|resource| resource.declared) else {
                continue;
            };
            let Some(silent) = resource.silence_to_tell(now) else { continue };
            let signals = resource.signals.iter().filter_map(|signal| self.signals.get(*signal));
            // Samples of a sender whose clock is ahead must not look like samples of now.
            let signals = signals.map(|signal| signal.judged(Timestamp::MAX)).collect();
            let moment = Moment { at: now, signals, gap: None, silent: Some(silent) };
            let (assessment, transitions) = resource.assess(moment, &self.settings, ids);
            judged.assessments.push(assessment);
            judged.transitions.extend(transitions);
            judged.budgets.extend(resource.take_budget());
            self.changed.insert(place as usize / BLOCK_SIGNALS);
        }
        self.evict(now);
        judged
    }

    /// Signals whose text begins with `prefix` and comes after `after`, in order, at most `limit`.
    #[must_use]
    pub fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<LearnedSignal> {
        self.between(prefix, after).take(limit).map(|signal| signal.learned(&self.settings)).collect()
    }

    /// Lets a signal that has no limits of its own yet begin with those of its likes.
    pub fn lend(&mut self, signal: &SignalId, prior: Prior) {
        if let Some(signal) = self.find(signal).and_then(|place| self.signals.get_mut(place)) {
            signal.engine.thresholds.begin_with(Some(prior));
        }
    }

    /// What its signals have learned so far.
    pub fn lessons(&self) -> impl Iterator<Item = Lesson> + '_ {
        self.signals.iter().filter_map(|(_, signal)| signal.lesson())
    }

    /// How many signals it holds, and how many symptoms are open.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let open = self.resources.iter().map(|(_, resource)| resource.open_symptoms()).sum();
        (self.signals.len(), open)
    }

    fn introduce(
        &mut self,
        dictionary: &mut Dictionary,
        descriptor: SignalDescriptor,
        now: Timestamp,
        strangers: &mut Vec<(SignalId, SignalKind)>,
    ) {
        let handle = descriptor.handle;
        let resource = &descriptor.signal.resource;
        let number = resource.shard().number();
        let entry = if number == self.number.number() {
            self.place(descriptor, now, strangers).map(|slot| (number, slot))
        } else {
            None
        };
        dictionary.set(handle, entry);
    }

    /// Where the signal is kept; `None` when there is no room.
    fn place(
        &mut self,
        descriptor: SignalDescriptor,
        now: Timestamp,
        strangers: &mut Vec<(SignalId, SignalKind)>,
    ) -> Option<SlotRef> {
        let resource = self.resource(&descriptor.signal.resource, now);
        if descriptor.declared
            && let Some(resource) = self.resources.get_mut(resource)
        {
            resource.declared = true;
        }
        if let Some(place) = self.find_of(resource, descriptor.signal.name()) {
            let signal = self.signals.get_mut(place)?;
            let (kind, unit) = (descriptor.kind, descriptor.unit.as_str());
            (signal.kind, signal.declared) = (kind, descriptor.declared);
            if &*signal.unit != unit {
                signal.unit = unit.into();
            }
            return self.signals.refer(place);
        }
        if self.signals.len() >= SIGNALS_MAX {
            return None;
        }
        strangers.push((descriptor.signal.clone(), descriptor.kind));
        let signal = Signal::new(descriptor, resource, &self.settings);
        Some(self.insert(signal))
    }

    fn insert(&mut self, mut signal: Signal) -> SlotRef {
        let early = if self.early.is_empty() { None } else { self.early.remove(&signal.id.id().to_string()) };
        for version in early.unwrap_or_default() {
            signal.engine.thresholds.review(&version);
        }
        let position = self.position(signal.resource, signal.id.name());
        let resource = signal.resource;
        if let Some(resource) = self.resources.get(resource) {
            signal.id.resource = resource.id.clone();
        }
        let place = self.signals.insert(signal);
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.signals.insert(position.unwrap_or_else(|free| free), place.index);
        }
        self.changed.insert(place.index as usize / BLOCK_SIGNALS);
        place
    }

    fn resource(&mut self, id: &ResourceId, now: Timestamp) -> u32 {
        let prefix = name::prefix(id);
        match self.by_prefix.get(&prefix) {
            Some(place) => *place,
            None => {
                let place = self.resources.insert(Resource::new(id.clone(), now)).index;
                self.by_prefix.insert(prefix, place);
                place
            }
        }
    }

    /// Where the signal of that name stands among those of its resource, or where it would.
    fn position(&self, resource: u32, name: &str) -> Result<usize, usize> {
        let Some(resource) = self.resources.get(resource) else { return Err(0) };
        let name_of = |place: &u32| self.signals.get(*place).map_or("", |signal| signal.id.name());
        resource.signals.binary_search_by(|place| name_of(place).cmp(name))
    }

    /// The place of a resource's signal of that name.
    fn find_of(&self, resource: u32, name: &str) -> Option<u32> {
        let position = self.position(resource, name).ok()?;
        self.resources.get(resource)?.signals.get(position).copied()
    }

    /// The place of a signal.
    fn find(&self, signal: &SignalId) -> Option<u32> {
        self.find_of(*self.by_prefix.get(&name::prefix(&signal.resource))?, signal.name())
    }

    /// Signals whose text begins with `prefix` and comes after `after`, in order.
    fn between(&self, prefix: &str, after: &str) -> impl Iterator<Item = &Signal> {
        let start = prefix.max(after);
        // A text is not before what its resource's texts begin with.
        let first = start.find('#').map_or(start, |end| &start[..=end]);
        let keys = self.by_prefix.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let keys = keys.take_while(move |(key, _)| key.starts_with(prefix) || prefix.starts_with(&***key));
        keys.flat_map(move |(key, place)| {
            let signals = self.resources.get(*place).into_iter().flat_map(|resource| &resource.signals);
            let signals = signals.filter_map(|place| self.signals.get(*place));
            let (begin, last) = (prefix.strip_prefix(&**key), after.strip_prefix(&**key));
            signals.filter(move |signal| {
                let name = signal.id.name();
                name.starts_with(begin.unwrap_or_default()) && last.is_none_or(|last| name > last)
            })
        })
    }

    /// Judges the rows of one tick; gives back the declared resources that they are about.
    fn judge(
        &mut self,
        dictionary: &Dictionary,
        tick: &[Sample],
        interval: Duration,
        now: Timestamp,
        judged: &mut Judged,
    ) -> BTreeSet<u32> {
        let mut touched = BTreeSet::new();
        let Self { number, settings, signals, changed, .. } = self;
        for sample in tick {
            let taken = dictionary.get(sample.handle, *number).and_then(|place| {
                let Some(signal) = signals.follow(place) else {
                    judged.outdated = true;
                    return Err(Refusal::UnknownHandle);
                };
                let learned = signal.take(*sample, interval, now, settings)?;
                match learned {
                    Some(Learned::Version(proposal)) => {
                        judged.lessons.extend(signal.lesson());
                        judged.thresholds.push(signal.threshold(&proposal, now));
                    }
                    Some(Learned::Discarded) => judged.discarded += 1,
                    None => {}
                }
                changed.insert(place.index as usize / BLOCK_SIGNALS);
                Ok(signal.resource)
            });
            match taken {
                Ok(resource) => {
                    judged.accepted += 1;
                    touched.insert(resource);
                }
                Err(refusal) => *judged.refused.entry(refusal).or_default() += 1,
            }
        }
        touched.retain(|place| {
            let Some(resource) = self.resources.get_mut(*place) else { return false };
            resource.heard(now, interval);
            resource.declared
        });
        touched
    }

    fn assess(
        &mut self,
        place: u32,
        at: Timestamp,
        gaps: &BTreeMap<&ResourceId, &DataGap>,
        ids: &mut IdGenerator,
        judged: &mut Judged,
    ) {
        let Self { signals, resources, settings, .. } = self;
        let Some(resource) = resources.get_mut(place) else { return };
        let signals = resource.signals.iter().filter_map(|signal| signals.get(*signal));
        let signals = signals.map(|signal| signal.judged(at)).collect();
        let moment = Moment { at, signals, gap: gaps.get(&*resource.id).copied(), silent: None };
        let (assessment, transitions) = resource.assess(moment, settings, ids);
        judged.assessments.push(assessment);
        judged.transitions.extend(transitions);
        judged.budgets.extend(resource.take_budget());
        self.changed.insert(place as usize / BLOCK_SIGNALS);
    }

    /// Forgets undeclared signals that nobody has heard of for long.
    fn evict(&mut self, now: Timestamp) {
        let due = self.eviction_at.is_some_and(|due| now >= due);
        if self.eviction_at.is_some() && !due {
            return;
        }
        self.eviction_at = Some(now.saturating_add(EVICTION_INTERVAL).unwrap_or(Timestamp::MAX));
        if !due {
            return;
        }
        let is_declared =
            |signal: &Signal| self.resources.get(signal.resource).is_some_and(|resource| resource.declared);
        let is_idle = |signal: &Signal| signal.last_at.is_none_or(|last| now.duration_since(last) > IDLE_MAX);
        let idle = self.signals.iter().filter(|(_, signal)| is_idle(signal) && !is_declared(signal));
        let idle: Vec<u32> = idle.map(|(place, _)| place).collect();
        for place in idle {
            let Some(signal) = self.signals.remove(place) else { continue };
            self.changed.insert(place as usize / BLOCK_SIGNALS);
            let Some(resource) = self.resources.get_mut(signal.resource) else { continue };
            resource.signals.retain(|other| *other != place);
            if resource.signals.is_empty() {
                self.by_prefix.remove(&name::prefix(&signal.id.resource));
                self.resources.remove(signal.resource);
                self.changed.insert(signal.resource as usize / BLOCK_SIGNALS);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
