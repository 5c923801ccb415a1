//! A service at which nothing is to be changed: the numbers that say so, without words, so that a round over many such services
//! allocates nothing. The words are made when somebody reads them.

use super::{demand::Demand, scale::Replicas};
use crate::{
    data::{number, percent, seconds},
    economy::Advice,
};
use jiff::Timestamp;
use proto::model::{Action, ScalePolicy};
use std::time::Duration;

/// Why a service keeps what it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Rest {
    /// When that was found.
    pub at: Timestamp,
    pub(super) replicas: Replicas,
    pub(super) demand: Demand,
    pub(super) advice: Option<Advice>,
    pub(super) lasting: u32,
    pub(super) used: Option<f64>,
    /// For how long load has been watched, while that is too short for a scale-in.
    pub(super) watched: Option<Duration>,
    pub(super) policy: ScalePolicy,
}

impl Rest {
    /// One sentence.
    pub fn text(&self, name: &str) -> String {
        let Self { replicas: Replicas { ready, current }, demand, policy, .. } = self;
        let arithmetic = demand.text(policy);
        if demand.per_replica.is_none() && !demand.saturated {
            return format!("{name} keeps {current}: {arithmetic}");
        }
        if ready < current {
            return format!("{name} keeps {current}, of which {ready} are ready: {arithmetic}");
        }
        if let Some(watched) = self.watched {
            let (watched, window) = (seconds(watched), policy.cooldown_down.as_secs());
            return format!(
                "{name} keeps {current}: load has been watched for {watched} s of the {window} s before a scale-in"
            );
        }
        let need =
            demand.need.map_or_else(|| "an unknown number".to_owned(), |need| number(need).to_string());
        let used = self.used.map_or_else(String::new, |used| format!(", {} busy", percent(used)));
        format!("{name} keeps {current}{used}: {need} are needed; {arithmetic}")
    }

    /// What the forecast weighed and found dearer: the change, and why not.
    pub fn dearer(&self) -> Option<(String, String)> {
        dearer(self.advice.as_ref()?, self.replicas, false)
    }
}

/// What was weighed in the outlook and costs more, where it was not chosen for another reason.
pub(super) fn dearer(advice: &Advice, replicas: Replicas, grows: bool) -> Option<(String, String)> {
    if !grows && advice.replicas >= replicas.current {
        return None;
    }
    let (less, more) = (advice.cost.min(advice.cost_now), advice.cost.max(advice.cost_now));
    let reason = format!("expected to cost {} replicas, against {}", number(more), number(less));
    let dearer = if advice.cost_now > advice.cost { replicas.current } else { advice.replicas };
    Some((Action::Scale { replicas: dearer }.to_string(), reason))
}
