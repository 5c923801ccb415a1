//! What each kind of symptom looks for at one tick of one resource.

mod data;
mod dependency;
mod deviation;
mod objective;
mod saturation;

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    Capacity, DataQuality, Quality, ResourceId, ResourceKind, SignalGlance, SymptomEvidence, SymptomKind,
};

use super::Finding;
use crate::slo::{Tick, Tracker};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

pub use deviation::is_adverse;

/// Without a declared objective, one event in a hundred may be bad.
pub const ALLOWED_DEFAULT: f64 = 0.01;

/// A signal at this tick, with what went before.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// At a glance.
    pub glance: SignalGlance,
    /// Which of the last four known samples crossed a threshold for the worse; the lowest bit is the newest.
    pub crossings: u8,
}

/// Signals that are not together as they usually are.
#[derive(Debug, Clone, PartialEq)]
pub struct Apart {
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// Names of those to blame and their shares, most first.
    pub blamed: Vec<(String, f64)>,
}

/// A resource at one tick.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Whose.
    pub resource: &'a ResourceId,
    /// When.
    pub at: Timestamp,
    /// What the tick stands for.
    pub interval: Duration,
    /// Its signals; those without a sample at this tick are unknown.
    pub signals: &'a [Judged],
    /// Evidence that opens a symptom, in nats.
    pub threshold: f64,
    /// The objective, this tick already in it.
    pub objective: Option<&'a Tracker>,
    /// This tick's events.
    pub tick: Tick,
    /// What a replica can take.
    pub capacity: Capacity,
    /// How whole the data is.
    pub data: &'a DataQuality,
    /// What its signals say together, when that is unusual.
    pub apart: Option<&'a Apart>,
    /// Share of events that may be bad, of this service or of the caller.
    pub allowed: f64,
}

impl View<'_> {
    fn judged(&self, name: &str) -> Option<&Judged> {
        self.signals.iter().find(|judged| judged.glance.name == name)
    }

    fn glance(&self, name: &str) -> Option<&SignalGlance> {
        self.judged(name).map(|judged| &judged.glance)
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.glance(name)?.value
    }

    /// The value, if every source contributed.
    fn whole(&self, name: &str) -> Option<f64> {
        self.glance(name).filter(|glance| glance.quality == Quality::Good)?.value
    }

    fn evidence(&self, names: &[&str]) -> Vec<SymptomEvidence> {
        let one = |name: &&str| {
            let SignalGlance { name, value, lower, upper, .. } = self.glance(name)?.clone();
            Some(SymptomEvidence { signal: name, value, lower, upper })
        };
        names.iter().filter_map(one).collect()
    }

    /// How fast the objective's budget burns now; 0 when nothing is promised or known.
    fn burn(&self) -> f64 {
        self.objective.and_then(Tracker::burn_rate_short).unwrap_or(0.0)
    }
}

/// What the rules remember from tick to tick.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    objective: objective::State,
    saturation: saturation::State,
    dependency: dependency::State,
}

impl Rules {
    /// What each rule for this resource finds.
    pub fn findings(&mut self, view: &View<'_>) -> Vec<(SymptomKind, Finding)> {
        let mut findings = Vec::with_capacity(4);
        match view.resource.kind() {
            ResourceKind::Service => {
                findings.push((SymptomKind::Objective, self.objective.find(view)));
                findings.push((SymptomKind::Saturation, self.saturation.find(view)));
            }
            ResourceKind::Edge => findings.push((SymptomKind::Dependency, self.dependency.find(view))),
            ResourceKind::Host => {}
        }
        findings.push((SymptomKind::Deviation, deviation::find(view)));
        findings.push((SymptomKind::DataMissing, data::find(view)));
        findings
    }

    /// A symptom ended: its evidence is spent.
    pub fn forget(&mut self, kind: SymptomKind) {
        match kind {
            SymptomKind::Objective => self.objective = objective::State::default(),
            SymptomKind::Saturation => self.saturation = saturation::State::default(),
            SymptomKind::Dependency => self.dependency = dependency::State::default(),
            SymptomKind::Deviation | SymptomKind::DataMissing => {}
        }
    }
}

/// A share for people: `7.3 %`.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// A rate for people: two digits are enough below ten.
fn rate(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.1}/s") } else { format!("{value:.0}/s") }
}

impl Stored for Rules {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.objective).put(&self.saturation).put(&self.dependency);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { objective: reader.get()?, saturation: reader.get()?, dependency: reader.get()? })
    }
}

#[cfg(test)]
mod tests;
