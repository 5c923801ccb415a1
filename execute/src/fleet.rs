//! What the breakers of all instances see, pooled per (edge, method): whose turn it is to probe, what others see, what is normal,
//! and a person's word that a newcomer has not heard. Instances are advised when they tell; nothing here opens a breaker.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use breaker::PhaseKind;
use breaker::fleet::{Advice, Probing, Witness, eject, pool};
use breaker::guard::EjectionGuard;
use proto::model::{
    BreakerAdvice, BreakerBaseline, BreakerKey, BreakerOverride, BreakerPhase, BreakerProbing, BreakerRecord,
    BreakerReport, BreakerSetting, Generation, ResourceId,
};

use crate::moment::Moment;
use crate::registry::ActuatorKey;

/// Whoever has said nothing for so long is no witness any more: ten words of an instance in trouble.
const WITNESS_TTL: Duration = Duration::from_secs(3);
/// Advice counts for so long: an instance that hears nothing for as long is by itself.
const ADVICE_TTL: Duration = Duration::from_secs(3);
/// The pool is looked at anew so often at most: about as often as an instance in trouble tells.
const ROUND: Duration = Duration::from_millis(200);
/// A turn of probing: as long as a call that hangs usually takes until it is given up.
const TURN: Duration = Duration::from_secs(2);
/// What was told as normal counts for so long; it is told once a minute.
const BASELINE_TTL: Duration = Duration::from_secs(600);
/// It is stored so often.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Knowledge is asked again after so long, when it did not answer.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// More breakers are not heard: of 2 KB each they are 100 MB.
const GROUPS_MAX: usize = 50_000;
/// More instances of one edge are not heard: a round over them takes a millisecond.
const MEMBERS_MAX: usize = 10_000;

/// One instance's last word.
#[derive(Debug)]
struct Member {
    name: ActuatorKey,
    report: BreakerReport,
    at: Duration,
    baseline: Option<(BreakerBaseline, Duration)>,
    advice: Option<BreakerAdvice>,
    given_baseline: Option<Duration>,
}

/// All instances' breakers of one key.
#[derive(Debug)]
struct Group {
    members: BTreeMap<u64, Member>,
    probing: Probing,
    looked_at: Option<Duration>,
    pooled: BTreeMap<u64, f64>,
    probers: BTreeMap<u64, Advice>,
    /// What Knowledge keeps, whether it has said so, and when it was asked.
    stored: Option<BreakerBaseline>,
    answered: bool,
    asked_at: Option<Duration>,
    saved_at: Option<Duration>,
    told: Option<(BreakerOverride, Generation)>,
}

/// The pool.
#[derive(Debug, Default)]
pub struct Fleet {
    groups: BTreeMap<BreakerKey, Group>,
    numbers: BTreeMap<ActuatorKey, u64>,
    next_number: u64,
    swept_at: Duration,
    /// By callee and method.
    ejected: BTreeMap<BreakerKey, Ejected>,
}

/// Which hosts of a callee may be left out, as of the last look.
#[derive(Debug)]
struct Ejected {
    hosts: BTreeSet<String>,
    looked_at: Duration,
}

/// What is stored of a breaker when nobody is left to tell it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stored {
    /// What is normal.
    pub baseline: Option<BreakerBaseline>,
    /// A person's word that stands, and the generation of its directive.
    pub told: Option<(BreakerOverride, Generation)>,
}

impl Fleet {
    /// The keys of these reports of which nothing is known and Knowledge was not asked lately. They count as asked now.
    pub fn unknown(&mut self, reports: &[BreakerReport], now: Duration) -> Vec<BreakerKey> {
        let mut found = Vec::new();
        for report in reports {
            let Some(group) = self.group(&report.key) else { continue };
            if !group.answered && !group.is_asking(now) {
                group.asked_at = Some(now);
                found.push(report.key.clone());
            }
        }
        found
    }

    /// What Knowledge keeps of a key.
    pub fn stored(&mut self, key: &BreakerKey, stored: Stored) {
        if let Some(group) = self.group(key) {
            group.answered = true;
            group.stored = stored.baseline;
            group.hear(stored.told);
        }
    }

    /// Takes an instance's word on all of its breakers, and advises each.
    pub fn tell(
        &mut self,
        name: &ActuatorKey,
        reports: Vec<BreakerReport>,
        now: Moment,
    ) -> Vec<BreakerAdvice> {
        self.sweep(now.monotonic);
        let number = self.number(name);
        let mut keys = Vec::with_capacity(reports.len());
        for report in reports {
            let key = report.key.clone();
            let Some(group) = self.group(&key) else { continue };
            group.hear_report(number, name, report, now.monotonic);
            group.look(now.monotonic);
            keys.push(key);
        }
        let advice = |key: &BreakerKey| {
            let may_eject = self.may_eject(key, now.monotonic);
            self.groups.get_mut(key)?.advise(number, may_eject, now)
        };
        keys.iter().filter_map(advice).collect()
    }

    /// An instance is gone.
    pub fn forget(&mut self, name: &ActuatorKey) {
        if let Some(number) = self.numbers.remove(name) {
            self.groups.values_mut().for_each(|group| drop(group.members.remove(&number)));
        }
    }

    /// Baselines that Knowledge does not have yet, or not as they are now. They count as saved.
    pub fn to_save(&mut self, now: Duration) -> Vec<(BreakerKey, BreakerBaseline)> {
        let mut found = Vec::new();
        for (key, group) in self.groups.iter_mut().filter(|(key, _)| key.host.is_empty()) {
            let due = group.saved_at.is_none_or(|at| now >= at + SAVE_INTERVAL);
            let Some(learned) = group.learned(now).filter(|_| due) else { continue };
            if group.stored.as_ref() != Some(&learned) {
                group.saved_at = Some(now);
                group.stored = Some(learned.clone());
                found.push((key.clone(), learned));
            }
        }
        found
    }

    /// Saving did not work: it is tried again.
    pub fn not_saved(&mut self, key: &BreakerKey) {
        if let Some(group) = self.groups.get_mut(key) {
            group.saved_at = None;
            group.stored = None;
        }
    }

    /// Every breaker that was heard of lately, by key and instance.
    pub fn list(&self, edge: Option<&ResourceId>, now: Duration) -> Vec<BreakerRecord> {
        let groups = self.groups.iter().filter(|(key, _)| edge.is_none_or(|edge| key.edge == *edge));
        let members = groups.flat_map(|(_, group)| group.members.values());
        let mut records: Vec<_> = members
            .filter(|member| member.is_fresh(now))
            .map(|member| BreakerRecord {
                instance: member.name.to_string(),
                report: member.report.clone(),
                age: now.saturating_sub(member.at),
                advice: member.advice.clone(),
            })
            .collect();
        records.sort_by(|a, b| (&a.report.key, &a.instance).cmp(&(&b.report.key, &b.instance)));
        records
    }

    /// The policy of the newest generation that instances of an edge have.
    pub fn policy(&self, edge: &ResourceId) -> Option<BreakerSetting> {
        let groups = self.groups.iter().filter(|(key, _)| key.edge == *edge);
        let members = groups.flat_map(|(_, group)| group.members.values());
        members.max_by_key(|member| member.report.generation).map(|member| member.report.policy)
    }

    /// How many breakers were heard of.
    pub fn len(&self) -> usize {
        self.groups.values().map(|group| group.members.len()).sum()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn number(&mut self, name: &ActuatorKey) -> u64 {
        *self.numbers.entry(name.clone()).or_insert_with(|| {
            self.next_number += 1;
            self.next_number
        })
    }

    fn group(&mut self, key: &BreakerKey) -> Option<&mut Group> {
        if !self.groups.contains_key(key) {
            if self.groups.len() >= GROUPS_MAX {
                return None;
            }
            self.groups.insert(key.clone(), Group::new());
        }
        self.groups.get_mut(key)
    }

    /// Whether the callers of an edge agree that a host may be left out. A callee as a whole is no host. With ten hosts and a
    /// thousand callers that is a look at 10,000 words, so it is taken anew now and then only.
    fn may_eject(&mut self, key: &BreakerKey, now: Duration) -> bool {
        if key.host.is_empty() {
            return false;
        }
        let callee = BreakerKey { host: String::new(), ..key.clone() };
        let known = self.ejected.get(&callee).filter(|known| now < known.looked_at + ROUND);
        if let Some(known) = known {
            return known.hosts.contains(&key.host);
        }
        let hosts = eject(&self.hosts(&callee), &EjectionGuard::default());
        let may = hosts.contains(&key.host);
        self.ejected.insert(callee, Ejected { hosts, looked_at: now });
        may
    }

    /// What is told of each host of a callee.
    fn hosts(&self, callee: &BreakerKey) -> BTreeMap<String, Vec<Witness>> {
        let range = self.groups.range((Bound::Excluded(callee), Bound::Unbounded));
        let groups = range.take_while(|(key, _)| key.edge == callee.edge && key.method == callee.method);
        let told = |group: &Group| group.members.values().map(|member| witness(&member.report)).collect();
        groups.map(|(key, group)| (key.host.clone(), told(group))).collect()
    }

    /// Once a second: who has said nothing for long is dropped, and with the last one its group.
    fn sweep(&mut self, now: Duration) {
        if now < self.swept_at + Duration::from_secs(1) {
            return;
        }
        self.swept_at = now;
        for group in self.groups.values_mut() {
            group.members.retain(|_, member| member.is_fresh(now));
        }
        self.groups.retain(|_, group| !group.members.is_empty() || group.is_asking(now));
        self.ejected.retain(|_, known| now < known.looked_at + ROUND);
        let groups = &self.groups;
        self.numbers.retain(|_, number| groups.values().any(|group| group.members.contains_key(number)));
    }
}

impl Member {
    fn is_fresh(&self, now: Duration) -> bool {
        now < self.at + WITNESS_TTL
    }
}

impl Group {
    fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            probing: Probing::new(TURN),
            looked_at: None,
            pooled: BTreeMap::new(),
            probers: BTreeMap::new(),
            stored: None,
            answered: false,
            asked_at: None,
            saved_at: None,
            told: None,
        }
    }

    fn is_asking(&self, now: Duration) -> bool {
        self.asked_at.is_some_and(|at| now < at + ASK_INTERVAL)
    }

    fn hear(&mut self, told: Option<(BreakerOverride, Generation)>) {
        let newer = |told: &(BreakerOverride, Generation)| self.told.is_none_or(|known| told.1 > known.1);
        self.told = told.filter(newer).or(self.told);
    }

    fn hear_report(&mut self, number: u64, name: &ActuatorKey, report: BreakerReport, now: Duration) {
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&number) {
            return;
        }
        if report.override_generation > Generation(0) {
            let word = report.policy.told.unwrap_or(BreakerOverride::Cleared);
            self.hear(Some((word, report.override_generation)));
        }
        let before = self.members.remove(&number);
        let told = report.baseline.clone().map(|baseline| (baseline, now));
        let baseline = told.or(before.as_ref().and_then(|before| before.baseline.clone()));
        let (advice, given_baseline) =
            before.map_or((None, None), |before| (before.advice, before.given_baseline));
        let report = BreakerReport { baseline: None, ..report };
        let member = Member { name: name.clone(), report, at: now, baseline, advice, given_baseline };
        self.members.insert(number, member);
    }

    /// Pools what all have told, now and then.
    fn look(&mut self, now: Duration) {
        if self.looked_at.is_some_and(|at| now < at + ROUND) {
            return;
        }
        self.looked_at = Some(now);
        let fresh = self.members.iter().filter(|(_, member)| member.is_fresh(now));
        let witnesses: BTreeMap<u64, Witness> =
            fresh.map(|(&number, member)| (number, witness(&member.report))).collect();
        self.pooled = pool(&witnesses);
        self.probers = self.probing.advise(&witnesses, now);
    }

    fn advise(&mut self, number: u64, may_eject: bool, now: Moment) -> Option<BreakerAdvice> {
        let learned = self.learned(now.monotonic).or_else(|| self.stored.clone());
        let others = self.members.len().saturating_sub(1);
        let member = self.members.get_mut(&number)?;
        let gives = !member.report.baseline_known
            && member.given_baseline.is_none_or(|at| now.monotonic >= at + ASK_INTERVAL);
        let baseline = learned.filter(|_| gives);
        if baseline.is_some() {
            member.given_baseline = Some(now.monotonic);
        }
        let unheard = |(word, generation): &(BreakerOverride, Generation)| {
            *generation > member.report.override_generation
                && (word.stands(now.wall) || member.report.policy.told.is_some())
        };
        let advice = BreakerAdvice {
            key: member.report.key.clone(),
            valid: ADVICE_TTL,
            others_score: self.pooled.get(&number).copied().unwrap_or(0.0),
            witnesses: u32::try_from(others).unwrap_or(u32::MAX),
            probing: match self.probers.get(&number) {
                // One that is alone knows best.
                _ if others == 0 => BreakerProbing::Free,
                Some(Advice::Probe) => BreakerProbing::Now,
                Some(Advice::HoldProbes { .. }) => BreakerProbing::Hold,
                Some(Advice::OthersSee { .. }) | None => BreakerProbing::Free,
            },
            may_eject,
            baseline,
            told: self.told.filter(unheard),
        };
        member.advice = Some(BreakerAdvice { baseline: None, ..advice.clone() });
        Some(advice)
    }

    /// What is normal by the word of the instance in the middle: one sick client moves nothing.
    fn learned(&self, now: Duration) -> Option<BreakerBaseline> {
        let told = self.members.values().filter_map(|member| member.baseline.as_ref());
        let mut known: Vec<_> =
            told.filter(|(_, at)| now < *at + BASELINE_TTL).map(|(baseline, _)| baseline).collect();
        known.sort_by(|a, b| a.failure_ratio.total_cmp(&b.failure_ratio));
        known.get(known.len().saturating_sub(1) / 2).map(|baseline| (*baseline).clone())
    }
}

fn witness(report: &BreakerReport) -> Witness {
    Witness {
        score: report.outage_score,
        threshold: report.outage_threshold,
        phase: match report.phase {
            BreakerPhase::Closed => PhaseKind::Closed,
            BreakerPhase::Open => PhaseKind::Open,
            BreakerPhase::HalfOpen => PhaseKind::HalfOpen,
        },
        answered: report.probes_answered,
        opened: report.opened_total,
    }
}

#[cfg(test)]
mod tests;
