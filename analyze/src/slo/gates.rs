//! GO or NO-GO, and how ready: named gates, each with its evidence. What is unknown does not pass; a level is as high as its
//! weakest gate.

use serde::Serialize;

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The evidence shows that it holds.
    Pass,
    /// The evidence shows that it does not.
    Fail,
    /// There is no evidence.
    Unknown,
}

/// How ready something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Not ready for anybody else.
    Development,
    /// Ready to be tried.
    StagingReady,
    /// Ready but for what can be accepted in writing.
    NearProduction,
    /// Ready.
    ProductionReady,
}

impl Level {
    /// All, lowest first.
    pub const ALL: [Self; 4] =
        [Self::Development, Self::StagingReady, Self::NearProduction, Self::ProductionReady];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "DEVELOPMENT",
            Self::StagingReady => "STAGING_READY",
            Self::NearProduction => "NEAR_PRODUCTION",
            Self::ProductionReady => "PRODUCTION_READY",
        }
    }

    /// Reads the word, in any case, with `-` or `_`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_uppercase().replace('-', "_");
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// One gate, evaluated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// What it says.
    pub verdict: Verdict,
    /// What it rests on, for people.
    pub evidence: String,
    /// The highest level that can be reached while it fails.
    pub when_failing: Level,
    /// The highest level while it is unknown.
    pub when_unknown: Level,
}

impl Gate {
    /// A gate from a fact that may be unknown. Failing keeps everything in development; unknown allows staging at most.
    #[must_use]
    pub fn from_fact(name: impl Into<String>, holds: Option<bool>, evidence: impl Into<String>) -> Self {
        let verdict = match holds {
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Fail,
            None => Verdict::Unknown,
        };
        let (name, evidence) = (name.into(), evidence.into());
        let (when_failing, when_unknown) = (Level::Development, Level::StagingReady);
        Self { name, verdict, evidence, when_failing, when_unknown }
    }

    /// A gate that is good to have: failing allows being near, unknown too.
    #[must_use]
    pub fn advisory(mut self) -> Self {
        (self.when_failing, self.when_unknown) = (Level::NearProduction, Level::NearProduction);
        self
    }

    fn allows(&self) -> Level {
        match self.verdict {
            Verdict::Pass => Level::ProductionReady,
            Verdict::Fail => self.when_failing,
            Verdict::Unknown => self.when_unknown,
        }
    }
}

/// The level and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readiness {
    /// The level reached.
    pub level: Level,
    /// Whether to go: every gate passes.
    pub go: bool,
    /// Every gate.
    pub gates: Vec<Gate>,
    /// Names of the gates that are unknown.
    pub unknown: Vec<String>,
}

/// The level that the gates allow. Without any gate nothing is known, so nothing is ready.
#[must_use]
pub fn evaluate(gates: Vec<Gate>) -> Readiness {
    let level = gates.iter().map(Gate::allows).min().unwrap_or(Level::Development);
    let go = !gates.is_empty() && gates.iter().all(|gate| gate.verdict == Verdict::Pass);
    let unknown = gates.iter().filter(|gate| gate.verdict == Verdict::Unknown).map(|gate| gate.name.clone());
    Readiness { level, go, unknown: unknown.collect(), gates }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(holds: Option<bool>) -> Gate {
        Gate::from_fact("g", holds, "because")
    }

    #[test]
    fn the_weakest_gate_decides() {
        assert_eq!(evaluate(vec![gate(Some(true)); 9]).level, Level::ProductionReady);
        let mut gates = vec![gate(Some(true)); 99];
        gates.push(gate(Some(false)));
        let readiness = evaluate(gates);
        assert_eq!((readiness.level, readiness.go), (Level::Development, false), "no mean hides it");
    }

    #[test]
    fn what_is_unknown_is_not_ready_and_is_named() {
        let readiness = evaluate(vec![gate(Some(true)), gate(None)]);
        assert_eq!((readiness.level, readiness.go), (Level::StagingReady, false));
        assert_eq!(readiness.unknown, ["g"]);
    }

    #[test]
    fn without_gates_nothing_is_ready() {
        let readiness = evaluate(Vec::new());
        assert_eq!((readiness.level, readiness.go), (Level::Development, false));
    }

    #[test]
    fn an_advisory_gate_keeps_from_the_highest_level_only() {
        assert_eq!(evaluate(vec![gate(Some(false)).advisory()]).level, Level::NearProduction);
    }

    #[test]
    fn levels_are_read_as_people_write_them() {
        assert_eq!(Level::parse("near-production"), Some(Level::NearProduction));
        assert_eq!(Level::parse("READY"), None);
    }
}
