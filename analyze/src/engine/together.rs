//! The signals of one resource seen together: a host that joins them at each tick tells when they part company, though each alone
//! is as it usually is. Of declared resources only: nobody is told of others.

use jiff::Timestamp;
use proto::model::Quality;

use crate::correlate::{Host, HostSettings};
use crate::learn::Settings;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};
use crate::symptom::rules::{Apart, Judged};

/// With fewer signals there is nothing that they do together.
const SIGNALS_MIN: usize = 4;
/// Each takes about 900 bytes and 0.2 µs a tick: 30 KB and 7 µs of a resource at most.
const SIGNALS_MAX: usize = 32;
/// Ticks after a change of replicas in which utilisation still mixes the time before and after.
const SETTLE_TICKS: u32 = 3;
/// What Homeostat itself moves is no news,
const REPLICAS: &str = "ready_replicas";
/// and this moves with it: it is taken per request, as work.
const UTILISATION: &str = "utilisation";
const LOAD: &str = "load";

/// What is learned of the signals of a resource together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Together {
    host: Option<Box<Host>>,
    /// Signals that the resource had when those to follow were chosen.
    known: u32,
    ready: Option<f64>,
    settling: u32,
}

impl Together {
    /// Joins the signals of a tick, in the order of their names; tells whether they are apart.
    pub(super) fn observe(
        &mut self,
        at: Timestamp,
        signals: &[Judged],
        settings: &Settings,
    ) -> Option<Apart> {
        self.settle(value(signals, REPLICAS));
        if self.known as usize != signals.len() {
            self.known = u32::try_from(signals.len()).unwrap_or(u32::MAX);
            self.follow(chosen(signals), settings);
        }
        let ready = self.ready.filter(|_| self.settling == 0);
        let host = self.host.as_deref_mut()?;
        let mut values = [f64::NAN; SIGNALS_MAX];
        for (known, name) in values.iter_mut().zip(host.names()) {
            let found = value(signals, name);
            let found =
                if name == UTILISATION { found.and_then(|used| work(used, ready, signals)) } else { found };
            *known = found.unwrap_or(f64::NAN);
        }
        let judged = host.observe(at, &values[..host.names().len()]);
        judged.standing.then(|| Apart {
            confidence: judged.confidence,
            blamed: judged
                .blamed
                .iter()
                .map(|blame| (host.names()[blame.metric].clone(), blame.share))
                .collect(),
        })
    }

    /// Signals that are followed.
    #[cfg(test)]
    pub(super) fn names(&self) -> &[String] {
        self.host.as_ref().map_or(&[], |host| host.names())
    }

    /// Whether it has seen less than the other.
    pub(super) fn is_younger(&self, other: &Self) -> bool {
        let age = |together: &Self| together.host.as_ref().map_or(0.0, |host| host.age());
        age(self) < age(other)
    }

    fn settle(&mut self, ready: Option<f64>) {
        if ready.is_some() && ready != self.ready {
            (self.ready, self.settling) = (ready, SETTLE_TICKS);
        } else {
            self.settling = self.settling.saturating_sub(1);
        }
    }

    fn follow(&mut self, names: Vec<String>, settings: &Settings) {
        match &mut self.host {
            _ if names.len() < SIGNALS_MIN => self.host = None,
            Some(host) if *host.names() != names => host.follow(names),
            Some(_) => {}
            None => {
                let false_alarm_every = settings.false_alarm_budget;
                let settings = HostSettings { false_alarm_every, ..HostSettings::default() };
                self.host = Some(Box::new(Host::new(settings, names)));
            }
        }
    }
}

/// What is whole of a signal. They are in the order of their names.
fn value(signals: &[Judged], name: &str) -> Option<f64> {
    let place = signals.binary_search_by(|judged| judged.glance.name.as_str().cmp(name)).ok()?;
    let glance = &signals[place].glance;
    glance.value.filter(|_| glance.quality == Quality::Good)
}

/// Busy replicas per request and second: neither more load nor more replicas changes that.
fn work(used: f64, ready: Option<f64>, signals: &[Judged]) -> Option<f64> {
    let load = value(signals, LOAD).filter(|load| *load > 0.0)?;
    Some(used * ready? / load)
}

/// The signals to follow, in order. Where there are too many, the first of each metric, then the second of each: series of one
/// metric mostly tell the same.
fn chosen(signals: &[Judged]) -> Vec<String> {
    let names = signals.iter().map(|judged| judged.glance.name.as_str()).filter(|name| *name != REPLICAS);
    let metric = |name: &str| name.split('{').next().unwrap_or_default().to_owned();
    let (mut last, mut rank) = (String::new(), 0);
    let mut ranked: Vec<(u32, &str)> = names
        .map(|name| {
            rank = if metric(name) == last { rank + 1 } else { 0 };
            last = metric(name);
            (rank, name)
        })
        .collect();
    ranked.sort_unstable();
    ranked.truncate(SIGNALS_MAX);
    let mut chosen: Vec<String> = ranked.into_iter().map(|(_, name)| name.to_owned()).collect();
    chosen.sort_unstable();
    chosen
}

impl Stored for Together {
    fn save(&self, writer: &mut Writer) {
        let Self { host, known, ready, settling } = self;
        writer.put(host).put(known).put(ready).put(settling);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let host: Option<Box<Host>> = reader.get()?;
        if host.as_ref().is_some_and(|host| host.names().len() > SIGNALS_MAX) {
            return Err(reader.damaged());
        }
        Ok(Self { host, known: reader.get()?, ready: reader.get()?, settling: reader.get()? })
    }
}

#[cfg(test)]
mod tests;
