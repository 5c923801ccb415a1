//! Which version of a model of seasons is in force: the newest that was recorded. Pure.

use proto::model::{SeasonalityModel, SeasonalityState};

/// Records one model beside `versions` (of the same signal, in order of generation; at least the one in force and the newest).
/// Returns it as stored, and the versions to write. A generation that is there already is the same model, told again.
pub(crate) fn record(
    versions: &[SeasonalityModel],
    found: SeasonalityModel,
) -> (SeasonalityModel, Vec<SeasonalityModel>) {
    if let Some(stored) = versions.iter().find(|version| version.generation == found.generation) {
        return (stored.clone(), Vec::new());
    }
    // Counted from 1 whatever number the learner gave: another instance may have taken it meanwhile.
    let generation = versions.last().map_or(1, |newest| newest.generation.saturating_add(1));
    let stored = SeasonalityModel { generation, state: SeasonalityState::Active, ..found };
    let superseded = |version: &SeasonalityModel| SeasonalityModel {
        state: SeasonalityState::Superseded,
        ..version.clone()
    };
    let mut changes: Vec<_> = versions.iter().filter(|version| version.in_force()).map(superseded).collect();
    changes.push(stored.clone());
    (stored, changes)
}
