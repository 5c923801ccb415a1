//! What planning looks ahead with: the load of one declared service, forecast in steps, and how lateness grows with utilisation.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::Outlook;

use crate::forecast::lookahead::Lookahead;
use crate::late::{LateLearner, LateTick};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// The forecast's steps are at least so long: shorter ones would show the chance of arrivals more than the load.
const STEP_MIN: Duration = Duration::from_secs(15);
/// Where samples come faster than steps, a plan that follows every sample is ahead of a forecast that sees steps, until that has
/// seen so many of them: five minutes of 15 s.
const STEPS_MIN: u64 = 20;
/// A step of which less than this share of the ticks is known is unknown.
const KNOWN_MIN: f64 = 0.5;

/// The learner of one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Ahead {
    lookahead: Option<Box<Lookahead>>,
    late: LateLearner,
    /// Of the step that is being filled: ticks, how many of them are known, and the sum of their loads.
    ticks: u32,
    known: u32,
    sum: f64,
}

/// Ticks of one step.
fn ticks(interval: Duration) -> u32 {
    let ticks = STEP_MIN.div_duration_f64(interval.max(Duration::from_millis(1))).ceil();
    (ticks as u32).max(1)
}

impl Ahead {
    /// Takes in one tick: the load in it, if that is whole, and what was late.
    pub(super) fn observe(&mut self, at: Timestamp, interval: Duration, load: Option<f64>, late: LateTick) {
        self.late.observe(late);
        let of_step = ticks(interval);
        let step = interval * of_step;
        if self.lookahead.as_ref().is_none_or(|lookahead| lookahead.step() != step) {
            self.lookahead = Some(Box::new(Lookahead::new(step)));
            (self.ticks, self.known, self.sum) = (0, 0, 0.0);
        }
        self.ticks += 1;
        if let Some(load) = load {
            (self.known, self.sum) = (self.known + 1, self.sum + load);
        }
        if self.ticks < of_step {
            return;
        }
        let known = f64::from(self.known);
        let mean = (known > 0.0 && known >= KNOWN_MIN * f64::from(of_step)).then(|| self.sum / known);
        if let Some(lookahead) = &mut self.lookahead {
            lookahead.observe(at, mean);
        }
        (self.ticks, self.known, self.sum) = (0, 0, 0.0);
    }

    /// Whether it has seen less than the other.
    pub(super) fn is_younger(&self, other: &Self) -> bool {
        let taken = |ahead: &Self| ahead.lookahead.as_ref().map_or(0, |lookahead| lookahead.taken());
        taken(self) < taken(other)
    }

    /// Seen from now, which may be some ticks into a step.
    pub(super) fn outlook(&self, interval: Duration) -> Option<Box<Outlook>> {
        let lookahead = self.lookahead.as_ref()?;
        if ticks(interval) > 1 && lookahead.taken() < STEPS_MIN {
            return None;
        }
        let mut outlook = lookahead.outlook()?;
        let gone = interval * self.ticks;
        outlook.points.retain(|point| point.after > gone);
        outlook.points.iter_mut().for_each(|point| point.after -= gone);
        outlook.late = self.late.points();
        Some(Box::new(outlook))
    }
}

impl Stored for Ahead {
    fn save(&self, writer: &mut Writer) {
        let Self { lookahead, late, ticks, known, sum } = self;
        writer.put(lookahead).put(late).put(ticks).put(known).put(sum);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (lookahead, late) = (reader.get()?, reader.get()?);
        let (ticks, known) = (reader.get()?, reader.get()?);
        Ok(Self { lookahead, late, ticks, known, sum: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn watch(ahead: &mut Ahead, seconds: std::ops::RangeInclusive<i64>, load: impl Fn(i64) -> Option<f64>) {
        for second in seconds {
            ahead.observe(at(second), SECOND, load(second), LateTick::default());
        }
    }

    #[test]
    fn seconds_are_joined_into_steps_and_the_outlook_is_seen_from_now() {
        let mut ahead = Ahead::default();
        watch(&mut ahead, 1..=3_000, |_| Some(80.0));
        let full = ahead.outlook(SECOND).unwrap();
        assert_eq!((full.at, full.points[0].after), (at(3_000), Duration::from_secs(15)));
        watch(&mut ahead, 3_001..=3_004, |_| Some(80.0));
        let later = ahead.outlook(SECOND).unwrap();
        assert_eq!((later.at, later.points[0].after), (at(3_000), Duration::from_secs(11)));
        assert_eq!(later.points[0].values, full.points[0].values);
    }

    #[test]
    fn samples_faster_than_steps_are_given_an_outlook_after_five_minutes_and_others_at_once() {
        let mut ahead = Ahead::default();
        watch(&mut ahead, 1..=299, |_| Some(80.0));
        assert_eq!(ahead.outlook(SECOND), None);
        watch(&mut ahead, 300..=300, |_| Some(80.0));
        assert!(ahead.outlook(SECOND).is_some());
        let (mut slow, quarter) = (Ahead::default(), Duration::from_secs(15));
        slow.observe(at(15), quarter, Some(80.0), LateTick::default());
        assert!(slow.outlook(quarter).is_some());
    }

    #[test]
    fn a_step_that_is_mostly_unknown_is_unknown() {
        let mut ahead = Ahead::default();
        watch(&mut ahead, 1..=1_500, |_| Some(80.0));
        watch(&mut ahead, 1_501..=1_515, |second| (second % 3 == 0).then_some(8_000.0));
        assert_eq!(ahead.outlook(SECOND).unwrap().at, at(1_500));
    }

    #[test]
    fn what_is_saved_goes_on_as_before() {
        let mut ahead = Ahead::default();
        let load = |second: i64| Some(80.0 + (second % 97) as f64);
        watch(&mut ahead, 1..=5_003, load);
        let mut writer = Writer::default();
        writer.put(&ahead);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        let mut again: Ahead = reader.get().unwrap();
        assert!(reader.is_at_end());
        watch(&mut ahead, 5_004..=6_000, load);
        watch(&mut again, 5_004..=6_000, load);
        assert_eq!(ahead, again);
    }
}
