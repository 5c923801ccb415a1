//! How long it takes from a directive until its replicas are ready, learned from past ones.

use crate::{
    data::{interval, is_whole, ready_replicas},
    few::Few,
    ledger::Line,
};
use jiff::Timestamp;
use proto::model::Assessment;
use std::{collections::VecDeque, time::Duration};

/// Delays that are remembered.
const KEPT: usize = 15;
/// Of those, the share that is planned for: a start that takes longer is covered by the margin of the load's forecast.
const PLANNED: f64 = 0.75;
/// Before anything was learned: a process is ready within seconds, and one step shows it.
const FIRST: Duration = Duration::from_secs(5);
/// A start that takes longer is a failure, which is told elsewhere.
const MAX: Duration = Duration::from_secs(15 * 60);

/// The learner of one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delay {
    seen: VecDeque<Duration>,
    waiting: Option<(Timestamp, u32)>,
    newest: Option<Timestamp>,
}

impl Delay {
    /// Takes in what is ready now, and what was asked for last.
    pub fn observe(&mut self, seen: &Assessment, line: &Line) {
        if let Some(entry) =
            line.in_effect().filter(|entry| self.newest.is_none_or(|newest| entry.created_at > newest))
        {
            self.newest = Some(entry.created_at);
            let asked = entry.replicas().filter(|_| entry.scales_out());
            // The same number told again is no new request. A larger one before the last was complete ends its measurement: which
            // replica belongs to which nobody can tell.
            if asked.is_none() || asked != self.waiting.map(|(_, replicas)| replicas) {
                self.waiting = asked.map(|replicas| (entry.created_at, replicas));
            }
        }
        let Some((asked_at, replicas)) = self.waiting else { return };
        let waited = |at: Timestamp| Duration::try_from(at.duration_since(asked_at)).ok();
        let Some(longest) = waited(seen.at) else { return };
        if longest > MAX {
            self.waiting = None;
        } else if is_whole(seen) && ready_replicas(seen).is_some_and(|ready| ready >= replicas) {
            // They became ready at some moment since the look before this one; planning rests on what is sure.
            self.waiting = None;
            if self.seen.len() == KEPT {
                self.seen.pop_front();
            }
            self.seen.push_back(longest);
        }
    }

    /// What is to be planned for.
    #[must_use]
    pub fn expected(&self, seen: &Assessment) -> Duration {
        let mut sorted = Few::<Duration, KEPT>::of(self.seen.iter().copied());
        let sorted = sorted.as_mut_slice();
        sorted.sort_unstable();
        let place = (PLANNED * sorted.len() as f64) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(FIRST + interval(seen))
    }

    /// How many were measured.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{scale_record, service, service_assessment},
        ledger::Ledger,
    };
    use proto::model::{DirectiveKind, DirectiveState};

    /// Three replicas until `after`, five from then on, watched every 15 s; these directives ask for five.
    fn learned(asked: &[i64], after: i64) -> Delay {
        let (mut delay, mut ledger) = (Delay::default(), Ledger::default());
        for second in (0..=600).step_by(15) {
            for (index, then) in asked.iter().enumerate().filter(|(_, then)| **then == second) {
                let before = if index == 0 { 3 } else { 5 };
                ledger.put(&scale_record(index as u32 + 1, before, 5, DirectiveState::Applied, *then));
            }
            let ready = if second < after { 3.0 } else { 5.0 };
            let signals =
                [("load", 100.0), ("ready_replicas", ready), ("utilisation", 0.5), ("bad_ratio", 0.0)];
            let seen = service_assessment("catalog", second, &signals);
            delay.observe(&seen, ledger.line(&service("catalog"), DirectiveKind::Scale));
        }
        delay
    }

    #[test]
    fn delay_runs_from_the_request_to_the_last_replica() {
        let delay = learned(&[60], 150);
        assert_eq!(delay.seen, [Duration::from_secs(90)]);
    }

    #[test]
    fn request_that_is_told_again_is_measured_from_the_first() {
        let delay = learned(&[60, 105, 150], 150);
        assert_eq!(delay.seen, [Duration::from_secs(90)]);
    }
}
