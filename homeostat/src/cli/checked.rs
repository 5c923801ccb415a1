//! Arguments that are checked before anything starts: a wrong one is told with its value and the rule, and ends with 64.

use super::duration;
use proto::model::DeclaredKind;
use staging::scenario;
use std::time::Duration;

/// Reports count whole seconds: a shorter play would say nothing.
const PLAY_MIN: Duration = Duration::from_secs(1);

/// A kind of declared document, in one or many, however it is capitalised.
pub(super) fn kind(text: &str) -> Result<DeclaredKind, String> {
    let wanted = text.to_lowercase();
    let is_called = |kind: &DeclaredKind| {
        let name = kind.as_str().to_lowercase();
        [format!("{name}s"), name.replace("policy", "policies"), name].contains(&wanted)
    };
    let found = DeclaredKind::ALL.iter().copied().find(is_called);
    found.ok_or_else(|| "must be Service, Policy or SLO".to_owned())
}

/// A scenario of the staging cluster.
pub(super) fn scenario(text: &str) -> Result<String, String> {
    let is_known = scenario::NAMES.contains(&text);
    is_known.then(|| text.to_owned()).ok_or_else(|| format!("must be one of {}", scenario::NAMES.join(", ")))
}

/// How long a scenario is played.
pub(super) fn play(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    (span >= PLAY_MIN).then_some(span).ok_or_else(|| format!("must be at least {PLAY_MIN:?}"))
}
