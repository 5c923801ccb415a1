//! What people would run by their declared target utilisation alone: the reactive rule that they know, stabilised as usual. Its
//! cost is what may be spent, its changes what is calm.

use jiff::Timestamp;
use proto::model::ScalePolicy;
use std::{collections::VecDeque, time::Duration};

/// Kubernetes' defaults: nothing is done within a tenth of the target, and the largest wish of five minutes holds.
const TOLERANCE: f64 = 0.1;
const STABILISATION: Duration = Duration::from_secs(300);

/// The rule, followed in the shadow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reference {
    replicas: Option<f64>,
    wishes: VecDeque<(Timestamp, f64)>,
    changes: f64,
}

impl Reference {
    /// What it would run at this load.
    pub fn observe(
        &mut self,
        at: Timestamp,
        load: f64,
        per_replica: f64,
        policy: &ScalePolicy,
        keep: f64,
    ) -> f64 {
        let target = per_replica * policy.target_utilisation_ratio;
        let (least, most) = (f64::from(policy.minimum_replicas), f64::from(policy.maximum_replicas));
        let need = (load / target).ceil().clamp(least, most);
        let runs = self.replicas.unwrap_or(need);
        let ratio = load / (target * runs.max(1.0));
        let wish = if (ratio - 1.0).abs() <= TOLERANCE { runs } else { need };
        // Falling wishes behind a larger one never count: the front is the largest.
        while self.wishes.back().is_some_and(|(_, last)| *last <= wish) {
            self.wishes.pop_back();
        }
        self.wishes.push_back((at, wish));
        while self.wishes.front().is_some_and(|(then, _)| super::older(*then, at, STABILISATION)) {
            self.wishes.pop_front();
        }
        let largest = self.wishes.front().map_or(wish, |(_, wish)| *wish);
        let next = if wish > runs { wish } else { runs.min(largest) };
        self.changes *= keep;
        if next != runs {
            self.changes += 1.0;
        }
        self.replicas = Some(next);
        next
    }

    /// How often it would have changed something lately.
    #[must_use]
    pub fn changes(&self) -> f64 {
        self.changes
    }
}
