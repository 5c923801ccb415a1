//! Services that are looked at more often than configured, for a while: what is asked for, what is in force, what is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proto::model::{Generation, ResourceId};

/// Looking more often than ten times as often as configured is another configuration, which people should choose.
const FASTER_MAX: u32 = 10;
/// Below this, a scrape costs more than it tells; also the shortest interval that can be configured.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Scrapes that all raised cadences together may add in a second: a seventh of what the most targets at 15 s cost.
pub const EXTRA_SCRAPES_PER_SECOND_MAX: f64 = 100.0;
/// Nothing holds longer, whatever is asked: should whoever asked be gone, it ends by itself.
const HOLD_MAX: SignedDuration = SignedDuration::from_hours(25);
/// So long a lifted one is remembered, to refuse older intents: directives are delivered within ten minutes, or never.
const FENCE: SignedDuration = SignedDuration::from_hours(1);
/// Services that are remembered; beyond, nothing new is taken.
const SERVICES_MAX: usize = 1_000;

/// What is asked for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// How often; `None`: as configured.
    pub interval: Option<Duration>,
    /// Until then.
    pub until: Timestamp,
    /// Of the intent.
    pub generation: Generation,
}

/// Why an ask is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A newer intent was heard of.
    #[error("generation {0} was heard of, which is newer")]
    Older(Generation),
    /// It is over already.
    #[error("it ended before it began")]
    Over,
    /// Too many services.
    #[error("{SERVICES_MAX} services have their own cadence, more are not taken")]
    Full,
}

/// How a service is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// As configured.
    pub configured: Duration,
    /// What is in force, and until when; `None`: as configured.
    pub asked: Option<(Duration, Timestamp)>,
    /// The newest intent heard of.
    pub generation: Generation,
    /// Between the two newest looks.
    pub observed: Option<Duration>,
    /// Looks so far.
    pub looks: u64,
    /// Why it is not looked at as often as asked; empty when it is.
    pub held_back: String,
}

#[derive(Debug, Clone, Default)]
struct Looks {
    last: Option<Duration>,
    observed: Option<Duration>,
    count: u64,
    held_back: &'static str,
}

/// The cadences of all services; asked from outside, carried out by the loop.
#[derive(Debug)]
pub struct Cadences {
    configured: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    asks: BTreeMap<ResourceId, Ask>,
    looks: BTreeMap<ResourceId, Looks>,
}

impl Cadences {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(configured: Duration) -> Self {
        Self { configured, inner: Mutex::default() }
    }

    /// Takes an ask in place of an older one; the same again changes nothing.
    ///
    /// # Errors
    /// When a newer one stands, or it can have no effect.
    pub fn ask(&self, service: ResourceId, ask: Ask, now: Timestamp) -> Result<(), Refusal> {
        let mut inner = self.lock();
        inner.forget(now);
        match inner.asks.get(&service) {
            Some(standing) if standing.generation > ask.generation => {
                return Err(Refusal::Older(standing.generation));
            }
            None if inner.asks.len() >= SERVICES_MAX => return Err(Refusal::Full),
            _ => {}
        }
        let longest = now.saturating_add(HOLD_MAX).unwrap_or(Timestamp::MAX);
        let until = match ask.interval {
            Some(_) if ask.until <= now => return Err(Refusal::Over),
            Some(_) => ask.until.min(longest),
            None => now.saturating_add(FENCE).unwrap_or(Timestamp::MAX),
        };
        inner.asks.insert(service, Ask { until, ..ask });
        Ok(())
    }

    /// How many times as often as configured each service is to be looked at now; those as configured are left out.
    #[must_use]
    pub fn faster(&self, now: Timestamp) -> BTreeMap<ResourceId, u32> {
        let mut inner = self.lock();
        inner.forget(now);
        let times =
            |(id, ask): (&ResourceId, &Ask)| Some((id.clone(), times(self.configured, ask.interval?)));
        inner.asks.iter().filter_map(times).filter(|(_, times)| *times > 1).collect()
    }

    /// A service was looked at, at that time of the monotonic clock.
    pub fn looked(&self, service: &ResourceId, at: Duration) {
        let mut inner = self.lock();
        let looks = inner.looks.entry(service.clone()).or_default();
        looks.observed = looks.last.map(|last| at.saturating_sub(last));
        (looks.last, looks.count) = (Some(at), looks.count.saturating_add(1));
    }

    /// Keeps only what is known of these services, and why some are not looked at as often as asked.
    pub fn keep<'a>(
        &self,
        services: impl Iterator<Item = &'a ResourceId>,
        held_back: &BTreeMap<ResourceId, &'static str>,
    ) {
        let mut inner = self.lock();
        let mut old = std::mem::take(&mut inner.looks);
        for id in services {
            let mut looks = old.remove(id).unwrap_or_default();
            looks.held_back = held_back.get(id).copied().unwrap_or_default();
            inner.looks.insert(id.clone(), looks);
        }
    }

    /// How a service is looked at now.
    #[must_use]
    pub fn standing(&self, service: &ResourceId, now: Timestamp) -> Standing {
        let inner = self.lock();
        let ask = inner.asks.get(service).filter(|ask| ask.until > now);
        let asked = ask.and_then(|ask| Some((in_force(self.configured, ask.interval?), ask.until)));
        let Looks { observed, count, held_back, last: _ } =
            inner.looks.get(service).cloned().unwrap_or_default();
        Standing {
            configured: self.configured,
            asked,
            generation: ask.map(|ask| ask.generation).unwrap_or_default(),
            observed,
            looks: count,
            held_back: if asked.is_some() { held_back.to_owned() } else { String::new() },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, now: Timestamp) {
        self.asks.retain(|_, ask| ask.until > now);
    }
}

/// The looks of one configured interval that an ask comes to: as often as asked at least, so far as the bounds allow.
fn times(configured: Duration, asked: Duration) -> u32 {
    let wanted = configured.div_duration_f64(asked.max(INTERVAL_MIN)).ceil() as u32;
    let most = configured.div_duration_f64(INTERVAL_MIN).floor() as u32;
    wanted.min(most).clamp(1, FASTER_MAX)
}

fn in_force(configured: Duration, asked: Duration) -> Duration {
    configured / times(configured, asked)
}

/// Which of the services may be looked at faster, when their targets and those shared with others are known, and why others not.
#[must_use]
pub fn admit(
    faster: BTreeMap<ResourceId, u32>,
    configured: Duration,
    targets: impl Fn(&ResourceId) -> Option<usize>,
) -> (BTreeMap<ResourceId, u32>, BTreeMap<ResourceId, &'static str>) {
    let (mut admitted, mut held_back) = (BTreeMap::new(), BTreeMap::new());
    let mut room = EXTRA_SCRAPES_PER_SECOND_MAX;
    for (id, times) in faster {
        let Some(targets) = targets(&id) else {
            held_back.insert(id, "it shares targets with another service, whose rates would change");
            continue;
        };
        let extra = targets as f64 * f64::from(times - 1) / configured.as_secs_f64();
        if extra > room {
            held_back.insert(id, "that would be more further scrapes a second than are allowed");
            continue;
        }
        room -= extra;
        admitted.insert(id, times);
    }
    (admitted, held_back)
}

/// The next moment within the interval at which somebody is to be looked at again, and who.
#[must_use]
pub fn next_look(
    faster: &BTreeMap<ResourceId, u32>,
    interval: Duration,
    after: Duration,
) -> Option<(Duration, BTreeSet<ResourceId>)> {
    let mut next: Option<(Duration, BTreeSet<ResourceId>)> = None;
    for (id, times) in faster {
        let Some(at) = (1..*times).map(|nth| interval * nth / *times).find(|at| *at > after) else {
            continue;
        };
        match &mut next {
            Some((earliest, who)) if *earliest == at => _ = who.insert(id.clone()),
            Some((earliest, _)) if *earliest < at => {}
            _ => next = Some((at, BTreeSet::from([id.clone()]))),
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    const SECOND: Duration = Duration::from_secs(1);

    fn cart() -> ResourceId {
        ResourceId::service("shop", "cart").unwrap()
    }

    fn ask(millis: u64, until: i64, generation: u64) -> Ask {
        let interval = (millis > 0).then(|| Duration::from_millis(millis));
        Ask { interval, until: at(until), generation: Generation(generation) }
    }

    #[test]
    fn an_ask_holds_until_its_end_and_no_longer() {
        let cadences = Cadences::new(SECOND);
        assert_eq!(cadences.ask(cart(), ask(500, 60, 1), at(0)), Ok(()));
        assert_eq!(cadences.faster(at(59)), BTreeMap::from([(cart(), 2)]));
        assert_eq!(cadences.standing(&cart(), at(59)).asked, Some((SECOND / 2, at(60))));
        assert_eq!(cadences.standing(&cart(), at(60)).asked, None);
        assert_eq!(cadences.faster(at(60)), BTreeMap::new(), "though nobody said so");
        assert_eq!(cadences.ask(cart(), ask(500, 60, 1), at(60)), Err(Refusal::Over));
        cadences.ask(cart(), ask(500, 1_000_000, 2), at(0)).unwrap();
        assert_eq!(cadences.faster(at(25 * 3_600)), BTreeMap::new(), "never longer than a day");
    }

    #[test]
    fn an_older_intent_is_refused_also_after_the_newer_one_was_lifted() {
        let cadences = Cadences::new(SECOND);
        cadences.ask(cart(), ask(500, 600, 4), at(0)).unwrap();
        assert_eq!(cadences.ask(cart(), ask(200, 600, 3), at(1)), Err(Refusal::Older(Generation(4))));
        cadences.ask(cart(), ask(0, 0, 5), at(2)).unwrap();
        assert_eq!(cadences.faster(at(3)), BTreeMap::new());
        assert_eq!(cadences.ask(cart(), ask(500, 600, 4), at(3)), Err(Refusal::Older(Generation(5))));
    }

    #[test]
    fn it_is_never_slower_than_configured_and_never_faster_than_the_bounds() {
        assert_eq!(times(SECOND, Duration::from_secs(30)), 1);
        assert_eq!(times(SECOND, Duration::ZERO), 10);
        assert_eq!(times(SECOND * 60, Duration::from_millis(1)), 10);
        assert_eq!(times(Duration::from_millis(250), Duration::ZERO), 2, "125 ms, and not less than 100");
        assert_eq!(in_force(SECOND, Duration::from_millis(400)), SECOND / 3, "at least as often as asked");
    }

    #[test]
    fn what_would_cost_too_much_or_bend_anothers_rates_is_held_back() {
        let id = |name: &str| ResourceId::service("shop", name).unwrap();
        let faster = BTreeMap::from([(id("a"), 2), (id("b"), 10), (id("c"), 2), (id("d"), 2)]);
        let targets = |service: &ResourceId| match service.name() {
            "a" => Some(60),
            "b" => Some(5),
            "c" => Some(30),
            _ => None,
        };
        let (admitted, held_back) = admit(faster, SECOND, targets);
        assert_eq!(admitted.into_keys().collect::<Vec<_>>(), [id("a"), id("c")]);
        assert_eq!(held_back.into_keys().collect::<Vec<_>>(), [id("b"), id("d")]);
    }

    #[test]
    fn looks_are_spread_evenly_over_the_interval_and_shared_where_they_meet() {
        let (a, b) = (ResourceId::service("shop", "a").unwrap(), ResourceId::service("shop", "b").unwrap());
        let faster = BTreeMap::from([(a.clone(), 2), (b.clone(), 4)]);
        let looks = std::iter::successors(next_look(&faster, SECOND, Duration::ZERO), |(at, _)| {
            next_look(&faster, SECOND, *at)
        });
        let looks: Vec<_> = looks.map(|(at, who)| (at.as_millis(), who.len())).collect();
        assert_eq!(looks, [(250, 1), (500, 2), (750, 1)], "the whole interval is the tick's own");
        assert_eq!(next_look(&BTreeMap::new(), SECOND, Duration::ZERO), None);
    }

    #[test]
    fn what_is_seen_is_the_time_between_two_looks() {
        let cadences = Cadences::new(SECOND);
        cadences.keep([cart()].iter(), &BTreeMap::new());
        cadences.looked(&cart(), SECOND);
        assert_eq!(cadences.standing(&cart(), at(0)).observed, None, "one look has no distance");
        cadences.looked(&cart(), SECOND * 3 / 2);
        let standing = cadences.standing(&cart(), at(0));
        assert_eq!((standing.observed, standing.looks), (Some(SECOND / 2), 2));
        cadences.keep([].iter(), &BTreeMap::new());
        assert_eq!(cadences.standing(&cart(), at(0)).looks, 0, "forgotten with the service");
    }

    #[test]
    fn only_so_many_services_are_remembered() {
        let cadences = Cadences::new(SECOND);
        for n in 0..SERVICES_MAX {
            let id = ResourceId::service("shop", &format!("s{n}")).unwrap();
            cadences.ask(id, ask(500, 60, 1), at(0)).unwrap();
        }
        assert_eq!(cadences.ask(cart(), ask(500, 60, 1), at(0)), Err(Refusal::Full));
        assert_eq!(cadences.ask(cart(), ask(500, 90, 1), at(60)), Ok(()), "others have ended");
    }
}
