//! Symptoms: findings worth acting on, each with a life: suspected → open → resolved, or suspected → dismissed.
//!
//! A finding's level rises to 1, then the symptom opens; it closes only after quiet ticks, more of them the more often it came
//! back. What is unknown changes nothing: a symptom stays as it is while its signals are absent.

pub mod evidence;
pub mod relate;
pub mod rules;
pub mod severity;
pub mod standing;

use chassis::IdGenerator;
use jiff::{SignedDuration, Timestamp};
use proto::model::{Severity, Symptom, SymptomEvidence, SymptomKind, SymptomState};

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// From here on a finding is worth mentioning.
pub const SUSPECT_LEVEL: f64 = 0.2;
/// From here on it is believed.
const OPEN_LEVEL: f64 = 1.0;
/// A quiet tick takes this much away: five close a symptom.
const QUIET_STEP: f64 = 0.2;
/// Trouble that returns this soon is the same symptom again; ended ones are shown as long.
const FLAP_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Each return doubles the quiet that is needed, up to eight times: 40 ticks.
const FLAPS_MAX: u32 = 3;
/// Ticks in a row that must ask for a higher severity of an open symptom,
const RAISE_TICKS: u32 = 2;
/// and for a lower one.
const LOWER_TICKS: u32 = 10;

/// What one rule says at one tick.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The data do not say.
    Unknown,
    /// All is well.
    Clear,
    /// Neither well nor bad enough: between the limits for opening and closing.
    Between,
    /// Something is wrong.
    Trouble(Trouble),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// 0 to 1; at 1 the symptom opens.
    pub level: f64,
    /// What it costs: budget use relative to sustainable use.
    pub burn: f64,
    /// Probability that it is real.
    pub confidence: f64,
    /// For people.
    pub text: String,
    /// What it rests on.
    pub evidence: Vec<SymptomEvidence>,
}

/// What happened to a symptom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It is believed now.
    Opened,
    /// It is over.
    Resolved,
    /// It was nothing.
    Dismissed,
}

/// The symptoms of one resource: at most one of each kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SymptomLog {
    tracks: [Track; SymptomKind::ALL.len()],
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Track {
    level: f64,
    symptom: Option<Symptom>,
    flaps: u32,
    raise: u32,
    lower: u32,
}

impl SymptomLog {
    /// Takes in what the rule for this kind found.
    pub fn observe(
        &mut self,
        kind: SymptomKind,
        finding: Finding,
        at: Timestamp,
        ids: &mut IdGenerator,
    ) -> Option<Transition> {
        let track = &mut self.tracks[kind as usize];
        match finding {
            Finding::Unknown | Finding::Between => None,
            Finding::Clear => track.quiet(at),
            Finding::Trouble(trouble) => track.trouble(kind, trouble, at, ids),
        }
    }

    /// Whether a symptom of this kind is believed now.
    #[must_use]
    pub fn is_open(&self, kind: SymptomKind) -> bool {
        self.tracks[kind as usize].live().is_some_and(|symptom| symptom.state == SymptomState::Open)
    }

    /// Suspected and open ones, and those that ended lately.
    pub fn shown(&self, at: Timestamp) -> impl Iterator<Item = &Symptom> {
        let is_late = move |symptom: &&Symptom| {
            symptom.ended_at.is_none_or(|end| at.duration_since(end) <= FLAP_WINDOW)
        };
        self.tracks.iter().filter_map(|track| track.symptom.as_ref()).filter(is_late)
    }
}

impl Track {
    fn live(&self) -> Option<&Symptom> {
        self.symptom.as_ref().filter(|symptom| symptom.ended_at.is_none())
    }

    fn trouble(
        &mut self,
        kind: SymptomKind,
        trouble: Trouble,
        at: Timestamp,
        ids: &mut IdGenerator,
    ) -> Option<Transition> {
        let was_open = self.live().is_some_and(Symptom::is_open);
        // An open symptom stays at its height until it is quiet.
        self.level = trouble.level.clamp(if was_open { self.level } else { 0.0 }, OPEN_LEVEL);
        if self.level < SUSPECT_LEVEL && self.live().is_none() {
            return None;
        }
        let opens = !was_open && self.level >= OPEN_LEVEL;
        let Trouble { burn, confidence, text, evidence, level: _ } = trouble;
        let confidence = (confidence * (0.5 + 0.5 * self.level)).clamp(0.0, 1.0);
        let severity = severity::of(burn, confidence);
        self.revive(kind, at, ids);
        let settled = self.settle(severity, was_open);
        let symptom = self.symptom.as_mut().expect("revived just now");
        (symptom.confidence, symptom.text, symptom.evidence) = (confidence, text, evidence);
        symptom.severity = settled.unwrap_or(symptom.severity);
        if opens {
            symptom.state = SymptomState::Open;
            symptom.opened_at.get_or_insert(at);
        }
        opens.then_some(Transition::Opened)
    }

    /// Makes sure that there is a living symptom: the one that ended a moment ago, or a new one.
    fn revive(&mut self, kind: SymptomKind, at: Timestamp, ids: &mut IdGenerator) {
        match &mut self.symptom {
            Some(symptom) if symptom.ended_at.is_none() => {}
            Some(symptom) if symptom.ended_at.is_some_and(|end| at.duration_since(end) <= FLAP_WINDOW) => {
                if symptom.state == SymptomState::Resolved {
                    self.flaps = (self.flaps + 1).min(FLAPS_MAX);
                }
                (symptom.state, symptom.ended_at) = (SymptomState::Suspected, None);
            }
            _ => {
                (self.flaps, self.raise, self.lower) = (0, 0, 0);
                self.symptom = Some(Symptom {
                    id: ids.uuid(at).to_string(),
                    kind,
                    state: SymptomState::Suspected,
                    severity: Severity::Low,
                    confidence: 0.0,
                    suspected_at: at,
                    opened_at: None,
                    ended_at: None,
                    text: String::new(),
                    evidence: Vec::new(),
                    explained_by: None,
                    blast_radius_ratio: 0.0,
                });
            }
        }
    }

    /// The severity to show: at once until the symptom is open, then only after it was asked for some ticks in a row.
    fn settle(&mut self, wanted: Severity, was_open: bool) -> Option<Severity> {
        let shown = self.symptom.as_ref()?.severity;
        self.raise = if wanted > shown { self.raise + 1 } else { 0 };
        self.lower = if wanted < shown { self.lower + 1 } else { 0 };
        let changes = !was_open || self.raise >= RAISE_TICKS || self.lower >= LOWER_TICKS;
        changes.then(|| {
            (self.raise, self.lower) = (0, 0);
            wanted
        })
    }

    fn quiet(&mut self, at: Timestamp) -> Option<Transition> {
        let Some(symptom) = self.symptom.as_mut().filter(|symptom| symptom.ended_at.is_none()) else {
            self.level = 0.0;
            return None;
        };
        self.level -= QUIET_STEP / f64::from(1_u32 << self.flaps);
        // Rounding must not cost a sixth tick.
        if self.level > 1e-9 {
            return None;
        }
        self.level = 0.0;
        symptom.ended_at = Some(at);
        let was_open = symptom.state == SymptomState::Open;
        symptom.state = if was_open { SymptomState::Resolved } else { SymptomState::Dismissed };
        Some(if was_open { Transition::Resolved } else { Transition::Dismissed })
    }
}

impl Stored for SymptomLog {
    fn save(&self, writer: &mut Writer) {
        writer.list(&self.tracks);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let tracks: Vec<Track> = reader.list()?;
        tracks.try_into().map(|tracks| Self { tracks }).map_err(|_| reader.damaged())
    }
}

impl Stored for Track {
    fn save(&self, writer: &mut Writer) {
        let Self { level, symptom, flaps, raise, lower } = self;
        writer.put(level).put(symptom).put(flaps).put(raise).put(lower);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (level, symptom, flaps): (_, _, u32) = (reader.get()?, reader.get()?, reader.get()?);
        Ok(Self { level, symptom, flaps: flaps.min(FLAPS_MAX), raise: reader.get()?, lower: reader.get()? })
    }
}

impl Stored for Symptom {
    fn save(&self, writer: &mut Writer) {
        let Self { id, kind, state, severity, confidence, .. } = self;
        // What relates it to others is found anew from what there is then.
        let Self { suspected_at, opened_at, ended_at, text, evidence, explained_by: _, .. } = self;
        writer.text(id).text(kind.as_str()).text(state.as_str()).text(severity.as_str());
        writer.put(confidence).put(suspected_at).put(opened_at).put(ended_at).text(text).list(evidence);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            id: reader.text()?.to_owned(),
            kind: reader.parse()?,
            state: reader.parse()?,
            severity: reader.parse()?,
            confidence: reader.get()?,
            suspected_at: reader.get()?,
            opened_at: reader.get()?,
            ended_at: reader.get()?,
            text: reader.text()?.to_owned(),
            evidence: reader.list()?,
            explained_by: None,
            blast_radius_ratio: 0.0,
        })
    }
}

impl Stored for SymptomEvidence {
    fn save(&self, writer: &mut Writer) {
        writer.text(&self.signal).put(&self.value).put(&self.lower).put(&self.upper);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let signal = reader.text()?.to_owned();
        Ok(Self { signal, value: reader.get()?, lower: reader.get()?, upper: reader.get()? })
    }
}

#[cfg(test)]
mod tests;
