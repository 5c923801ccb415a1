//! One resource: from the signals of a tick to its assessment.

use std::sync::Arc;
use std::time::Duration;

use chassis::IdGenerator;
use jiff::Timestamp;
use proto::model::{
    Assessment, DataGap, DataQuality, Objective, Quality, ResourceId, ResourceKind, SymptomKind,
};

use super::ahead::Ahead;
use super::together::Together;
use crate::capacity::{self, CapacityLearner};
use crate::late::LateTick;
use crate::learn::Settings;
use crate::slo::{AlertChange, ClosedSpan, Tick, Tracker};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};
use crate::symptom::rules::{ALLOWED_DEFAULT, Judged, Rules, View};
use crate::symptom::{SymptomLog, Transition, evidence};

/// Taken while no batch has told the interval.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(15);
/// Intervals without a sample after which a resource is unknown.
const SILENT_INTERVALS: u32 = 2;

/// One resource of a shard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub(crate) id: Arc<ResourceId>,
    pub(crate) declared: bool,
    /// Places of its signals, in the order of their names.
    pub(crate) signals: Vec<u32>,
    pub(crate) objective: Option<Objective>,
    /// Share of events that may be bad; for an edge that of its caller.
    allowed: Option<f64>,
    interval: Option<Duration>,
    /// By our own clock: when a sample arrived last, or when it was declared or restored.
    heard_at: Timestamp,
    /// By our own clock: when silence was last told.
    silent_at: Option<Timestamp>,
    /// Whether a sample has arrived in this life.
    spoken: bool,
    sequence: u64,
    data: Option<DataQuality>,
    tracker: Option<Tracker>,
    capacity: CapacityLearner,
    ahead: Ahead,
    together: Together,
    rules: Rules,
    symptoms: SymptomLog,
}

/// A tick of one resource as it goes into an assessment.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) at: Timestamp,
    pub(super) signals: Vec<Judged>,
    pub(super) gap: Option<&'a DataGap>,
    /// No samples arrive any more.
    pub(super) silent: Option<String>,
}

impl Resource {
    pub(super) fn new(id: ResourceId, now: Timestamp) -> Self {
        Self {
            id: Arc::new(id),
            declared: false,
            signals: Vec::new(),
            objective: None,
            allowed: None,
            interval: None,
            heard_at: now,
            silent_at: None,
            spoken: false,
            sequence: 0,
            data: None,
            tracker: None,
            capacity: CapacityLearner::default(),
            ahead: Ahead::default(),
            together: Together::default(),
            rules: Rules::default(),
            symptoms: SymptomLog::default(),
        }
    }

    pub(super) fn heard(&mut self, now: Timestamp, interval: Duration) {
        self.heard_at = now;
        self.silent_at = None;
        self.spoken = true;
        self.interval = Some(interval);
    }

    /// What it promises, or what its caller does; `None`: nothing.
    pub(super) fn promise(&mut self, objective: Option<Objective>, allowed: Option<f64>) {
        self.allowed = allowed;
        self.objective = objective;
        match (&mut self.tracker, &objective) {
            (Some(tracker), Some(objective)) => tracker.follow(objective),
            (_, None) => self.tracker = None,
            (None, Some(_)) => {}
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval.unwrap_or(INTERVAL_DEFAULT)
    }

    /// Whether samples have been missing for too long, and that is to be said now: at once, then at each interval.
    pub(super) fn silence_to_tell(&mut self, now: Timestamp) -> Option<String> {
        let interval = self.interval();
        let since = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        let silent = since(self.heard_at);
        if silent <= interval * SILENT_INTERVALS || self.silent_at.is_some_and(|told| since(told) < interval)
        {
            return None;
        }
        self.silent_at = Some(now);
        let ever = if self.interval.is_some() { "no samples arrive" } else { "no samples have arrived yet" };
        Some(format!("{ever} (the last {:.0} s)", silent.as_secs_f64().floor()))
    }

    /// Whether nothing was heard of it for so long that its declaration is doubtful.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        now.duration_since(self.heard_at).as_secs_f64() > (self.interval() * SILENT_INTERVALS).as_secs_f64()
    }

    /// Whether a sample has arrived in this life.
    pub(super) fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// Joins all that is known at one moment.
    pub(super) fn assess(
        &mut self,
        moment: Moment<'_>,
        settings: &Settings,
        ids: &mut IdGenerator,
    ) -> (Assessment, Vec<(SymptomKind, Transition)>) {
        let (at, interval) = (moment.at, self.interval());
        let data = data_quality(&moment, self.data.as_ref());
        let value = |name: &str| {
            let found = moment.signals.iter().map(|judged| &judged.glance).find(|glance| glance.name == name);
            found.filter(|glance| glance.value.is_some())
        };
        let whole = |name: &str| value(name).filter(|glance| glance.quality == Quality::Good)?.value;
        self.capacity.observe(capacity::Tick {
            load: whole("load"),
            ready: whole("ready_replicas"),
            utilisation: whole("utilisation"),
            error_ratio: whole("error_ratio"),
        });
        let bad_ratio = value("bad_ratio").and_then(|glance| glance.value);
        let tick = Tick::of(value("load").and_then(|glance| glance.value), bad_ratio, interval);
        if let Some(objective) = &self.objective {
            let tracker = self.tracker.get_or_insert_with(|| Tracker::new(objective, interval));
            tracker.observe(at, tick, interval);
        }
        let late = LateTick {
            requests: whole("load").map(|load| load * interval.as_secs_f64()),
            ready: whole("ready_replicas"),
            utilisation: whole("utilisation"),
            bad_ratio: whole("bad_ratio"),
        };
        if self.id.kind() == ResourceKind::Service {
            self.ahead.observe(at, interval, whole("load"), late);
        }
        let capacity = self.capacity.capacity();
        let apart = match moment.silent {
            None => self.together.observe(at, &moment.signals, settings),
            Some(_) => None,
        };
        let view = View {
            resource: &self.id,
            at,
            interval,
            signals: &moment.signals,
            threshold: evidence::threshold(settings, interval),
            objective: self.tracker.as_ref(),
            tick,
            capacity,
            data: &data,
            apart: apart.as_ref(),
            allowed: self.allowed.unwrap_or(ALLOWED_DEFAULT),
        };
        let mut transitions = Vec::new();
        for (kind, finding) in self.rules.findings(&view) {
            let Some(transition) = self.symptoms.observe(kind, finding, at, ids) else { continue };
            if transition != Transition::Opened {
                self.rules.forget(kind);
            }
            transitions.push((kind, transition));
        }
        self.sequence += 1;
        self.data = Some(data.clone());
        let assessment = Assessment {
            resource: (*self.id).clone(),
            shard: self.id.shard(),
            at,
            sequence: self.sequence,
            signals: moment.signals.into_iter().map(|judged| judged.glance).collect(),
            symptoms: self.symptoms.shown(at).cloned().collect(),
            objective: self.tracker.as_ref().map(Tracker::state),
            capacity,
            outlook: self.ahead.outlook(interval),
            budget_policies: Vec::new(),
            data,
            interval,
        };
        (assessment, transitions)
    }

    /// What happened to its budget since the last call, when anything did.
    pub(super) fn take_budget(&mut self) -> Option<(ResourceId, Vec<ClosedSpan>, Vec<AlertChange>)> {
        let tracker = self.tracker.as_mut()?;
        let (spans, changes) = (tracker.take_closed(), tracker.take_changes());
        (!spans.is_empty() || !changes.is_empty()).then(|| ((*self.id).clone(), spans, changes))
    }

    /// What its signals say together.
    #[cfg(test)]
    pub(super) fn together(&self) -> &Together {
        &self.together
    }

    pub(super) fn open_symptoms(&self) -> usize {
        SymptomKind::ALL.iter().filter(|kind| self.symptoms.is_open(**kind)).count()
    }

    /// Takes over what an earlier life of it had learned; what this life has seen itself goes before.
    pub(super) fn inherit(&mut self, earlier: Self, now: Timestamp) {
        let promised = self.objective.or(earlier.objective);
        let allowed = self.allowed.or(earlier.allowed);
        let declared = self.declared || earlier.declared;
        let (signals, heard_at) = (std::mem::take(&mut self.signals), self.heard_at.max(now));
        let events =
            |tracker: &Option<Tracker>| tracker.as_ref().map_or(0.0, |tracker| tracker.state().total_events);
        if self.sequence == 0 {
            let (id, spoken) = (self.id.clone(), self.spoken);
            *self = Self { id, signals, heard_at, silent_at: None, spoken, ..earlier };
        } else {
            self.signals = signals;
            self.sequence = self.sequence.max(earlier.sequence);
            self.interval = self.interval.or(earlier.interval);
            if events(&earlier.tracker) > events(&self.tracker) {
                self.tracker = earlier.tracker;
            }
            if earlier.capacity.capacity().samples > self.capacity.capacity().samples {
                self.capacity = earlier.capacity;
            }
            if self.ahead.is_younger(&earlier.ahead) {
                self.ahead = earlier.ahead;
            }
            if self.together.is_younger(&earlier.together) {
                self.together = earlier.together;
            }
        }
        self.declared = declared;
        self.promise(promised, allowed);
    }
}

/// How whole the data of this moment is: by what the sender says is missing, then by the signals that everything rests on.
fn data_quality(moment: &Moment<'_>, before: Option<&DataQuality>) -> DataQuality {
    let Moment { at, signals, gap, silent } = moment;
    let (quality, reason) = match (silent, gap) {
        (Some(reason), _) => (Quality::Unknown, reason.clone()),
        (None, Some(gap)) => {
            let none = gap.sources_seen == 0;
            {
                let reason = if gap.reason.is_empty() { "some sources do not answer" } else { &gap.reason };
                (if none { Quality::Unknown } else { Quality::Partial }, reason.to_owned())
            }
        }
        (None, None) => by_signals(signals),
    };
    let (sources_expected, sources_seen) = match (silent, gap, before) {
        (Some(_), _, before) => (before.map_or(0, |data| data.sources_expected), 0),
        (None, Some(gap), _) => (gap.sources_expected, gap.sources_seen),
        (None, None, _) => (0, 0),
    };
    let since = before.filter(|data| data.quality == quality).map_or(*at, |data| data.since);
    let last_good = if quality == Quality::Good { Some(*at) } else { before.and_then(|data| data.last_good) };
    DataQuality { quality, reason, since, sources_expected, sources_seen, last_good }
}

fn by_signals(signals: &[Judged]) -> (Quality, String) {
    let quality = |name: &str| {
        signals
            .iter()
            .map(|judged| &judged.glance)
            .find(|glance| glance.name == name)
            .map(|glance| glance.quality)
    };
    let load = signals.iter().map(|judged| &judged.glance).find(|glance| glance.name == "load");
    let traffic = load.and_then(|load| load.value).is_some_and(|load| load > 0.0);
    if load.is_none_or(|load| load.value.is_none()) {
        return (Quality::Unknown, "load is unknown".to_owned());
    }
    // Without traffic there is no share of anything, and that is nothing to worry about.
    let needed: &[&str] = if traffic { &["bad_ratio", "error_ratio"] } else { &[] };
    let always = ["load", "ready_replicas", "utilisation"];
    for name in always.iter().chain(needed) {
        match quality(name) {
            Some(Quality::Unknown) => return (Quality::Partial, format!("{name} is unknown")),
            Some(Quality::Partial) => return (Quality::Partial, format!("{name} is partial")),
            Some(Quality::Good) | None => {}
        }
    }
    (Quality::Good, String::new())
}

impl Resource {
    /// Writes it, without the places of its signals, which a restart may change.
    pub(crate) fn save(&self, writer: &mut Writer) {
        let Self {
            id,
            declared,
            signals: _,
            objective,
            allowed,
            interval,
            heard_at,
            silent_at: _,
            spoken: _,
            sequence,
            data,
            tracker,
            capacity,
            ahead,
            together,
            rules,
            symptoms,
        } = self;
        writer
            .text(&id.to_string())
            .put(declared)
            .put(&objective.map(StoredObjective))
            .put(allowed)
            .put(interval);
        writer
            .put(heard_at)
            .put(sequence)
            .put(data)
            .put(tracker)
            .put(capacity)
            .put(ahead)
            .put(together)
            .put(rules)
            .put(symptoms);
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            id: Arc::new(reader.parse()?),
            declared: reader.get()?,
            signals: Vec::new(),
            objective: reader.get::<Option<StoredObjective>>()?.map(|stored| stored.0),
            allowed: reader.get()?,
            interval: reader.get()?,
            heard_at: reader.get()?,
            silent_at: None,
            spoken: false,
            sequence: reader.get()?,
            data: reader.get()?,
            tracker: reader.get()?,
            capacity: reader.get()?,
            ahead: reader.get()?,
            together: reader.get()?,
            rules: reader.get()?,
            symptoms: reader.get()?,
        })
    }
}

struct StoredObjective(Objective);

impl Stored for StoredObjective {
    fn save(&self, writer: &mut Writer) {
        let Objective { target_ratio, latency_bound, window } = &self.0;
        writer.put(target_ratio).put(latency_bound).put(window);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let objective =
            Objective { target_ratio: reader.get()?, latency_bound: reader.get()?, window: reader.get()? };
        let damaged = reader.damaged();
        objective.validate().map(|()| Self(objective)).map_err(|_| damaged)
    }
}

impl Stored for DataQuality {
    fn save(&self, writer: &mut Writer) {
        let Self { quality, reason, since, sources_expected, sources_seen, last_good } = self;
        writer
            .text(quality.as_str())
            .text(reason)
            .put(since)
            .put(sources_expected)
            .put(sources_seen)
            .put(last_good);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            quality: reader.parse()?,
            reason: reader.text()?.to_owned(),
            since: reader.get()?,
            sources_expected: reader.get()?,
            sources_seen: reader.get()?,
            last_good: reader.get()?,
        })
    }
}
