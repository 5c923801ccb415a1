//! A shard from the outside: batches in, assessments out.

use proptest::prelude::*;
use proto::model::{Objective, Quality, SignalId, SignalKind, Symptom, SymptomState};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: i64 = 1_800_000_000;

/// One sender with one stream, and the shard that it sends to.
pub(crate) struct Plant {
    pub(crate) shard: Shard,
    dictionary: Dictionary,
    ids: IdGenerator,
    noise: IdGenerator,
    pub(crate) resource: ResourceId,
    handles: BTreeMap<String, u32>,
    pub(crate) second: i64,
    gap: Option<DataGap>,
    pub(crate) interval: Duration,
}

impl Plant {
    pub(crate) fn new(resource: &str) -> Self {
        let resource: ResourceId = resource.parse().unwrap();
        Self {
            shard: Shard::new(resource.shard(), Settings::default()),
            dictionary: Dictionary::default(),
            ids: IdGenerator::from_seed(1),
            noise: IdGenerator::from_seed(2),
            resource,
            handles: BTreeMap::new(),
            second: START,
            gap: None,
            interval: SECOND,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.second).unwrap()
    }

    fn handle(&mut self, name: &str) -> (u32, Option<SignalDescriptor>) {
        if let Some(handle) = self.handles.get(name) {
            return (*handle, None);
        }
        let handle = self.handles.len() as u32;
        self.handles.insert(name.to_owned(), handle);
        let signal = SignalId::new(self.resource.clone(), name).unwrap();
        let kind = if name.ends_with("ratio") || name == "utilisation" {
            SignalKind::Ratio
        } else {
            SignalKind::Gauge
        };
        (handle, Some(SignalDescriptor { handle, signal, kind, unit: "unit".to_owned(), declared: true }))
    }

    pub(crate) fn batch(&mut self, rows: &[(&str, Option<f64>)]) -> SampleBatch {
        let at = self.now();
        let (mut descriptors, mut samples) = (Vec::new(), Vec::new());
        for (name, value) in rows {
            let (handle, descriptor) = self.handle(name);
            descriptors.extend(descriptor);
            let quality = if value.is_some() { Quality::Good } else { Quality::Unknown };
            samples.push(Sample { handle, at, value: *value, quality });
        }
        let gaps = self.gap.iter().cloned().collect();
        let (sequence, shard, sender) = (1, self.resource.shard(), "test".to_owned());
        SampleBatch { sequence, shard, sender, descriptors, samples, interval: self.interval, gaps }
    }

    pub(crate) fn send(&mut self, batch: SampleBatch) -> Judged {
        let now = self.now();
        self.shard.ingest(&mut self.dictionary, batch, now, &mut self.ids)
    }

    /// One second later, these values.
    pub(crate) fn tick(&mut self, rows: &[(&str, Option<f64>)]) -> Assessment {
        self.second += 1;
        let batch = self.batch(rows);
        let judged = self.send(batch);
        assert_eq!(judged.refused, BTreeMap::new());
        judged.assessments.into_iter().next().unwrap()
    }

    /// About normally distributed, mean 0, standard deviation 1.
    pub(crate) fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.noise.unit_f64()).sum::<f64>() - 6.0
    }

    /// A calm second of a service of two replicas that take 100 requests per second each.
    fn calm(&mut self) -> Assessment {
        let load = 80.0 + 4.0 * self.gauss();
        self.service(load, 2.0, load / 200.0, 0.0)
    }

    fn service(&mut self, load: f64, ready: f64, utilisation: f64, bad: f64) -> Assessment {
        self.tick(&[
            ("load", Some(load)),
            ("ready_replicas", Some(ready)),
            ("utilisation", Some(utilisation)),
            ("bad_ratio", Some(bad)),
            ("error_ratio", Some(bad)),
        ])
    }

    fn edge(&mut self, calls: f64, errors: Option<f64>) -> Assessment {
        let latency = errors.map(|_| 0.05 + 0.002 * self.gauss());
        self.tick(&[("load", Some(calls)), ("error_ratio", errors), ("latency_p99_seconds", latency)])
    }

    fn promise(&mut self, target_ratio: f64) {
        let objective = Objective { target_ratio, latency_bound: None, window: SECOND * 3_600 };
        let promise = Promise { objective: Some(objective), allowed: Some(1.0 - target_ratio) };
        let (resource, now) = (self.resource.clone(), self.now());
        self.shard.declare(&resource, promise, now);
    }
}

fn catalog() -> Plant {
    Plant::new("service:staging/catalog")
}

fn edge() -> Plant {
    Plant::new("edge:staging/catalog->inventory")
}

fn symptom(assessment: &Assessment, kind: SymptomKind) -> Option<&Symptom> {
    assessment.symptoms.iter().find(|symptom| symptom.kind == kind && symptom.ended_at.is_none())
}

fn open(assessment: &Assessment) -> Vec<SymptomKind> {
    assessment.symptoms.iter().filter(|symptom| symptom.is_open()).map(|symptom| symptom.kind).collect()
}

#[test]
fn broken_edge_opens_dependency_within_two_ticks() {
    for calls in [1.0, 5.0, 50.0] {
        let mut plant = edge();
        (0..300).for_each(|_| assert_eq!(open(&plant.edge(calls, Some(0.0))), []));
        let opened = (1..=2).find(|_| open(&plant.edge(calls, Some(1.0))).contains(&SymptomKind::Dependency));
        assert!(opened.is_some(), "{calls} calls a second");
        assert!(calls < 5.0 || opened == Some(1));
        let assessment = plant.edge(calls, Some(1.0));
        let text = &symptom(&assessment, SymptomKind::Dependency).unwrap().text;
        assert!(text.contains("calls from catalog to inventory failed"), "{text}");
    }
}

#[test]
fn dependency_resolves_when_calls_succeed_again() {
    let mut plant = edge();
    (0..300).for_each(|_| _ = plant.edge(40.0, Some(0.0)));
    (0..10).for_each(|_| _ = plant.edge(40.0, Some(0.9)));
    let ticks = (1..=30).find(|_| !open(&plant.edge(40.0, Some(0.0))).contains(&SymptomKind::Dependency));
    assert!(ticks.is_some_and(|ticks| (5..15).contains(&ticks)), "{ticks:?}");
}

#[test]
fn dependency_stays_open_while_nothing_is_known_of_the_calls() {
    let mut plant = edge();
    (0..300).for_each(|_| _ = plant.edge(40.0, Some(0.0)));
    plant.edge(40.0, Some(0.9));
    let assessment = (0..100).map(|_| plant.tick(&[("load", None), ("error_ratio", None)])).last().unwrap();
    assert!(open(&assessment).contains(&SymptomKind::Dependency));
}

#[test]
fn four_times_the_load_opens_saturation_at_that_tick() {
    let mut plant = catalog();
    (0..100).for_each(|_| assert_eq!(open(&plant.calm()), []));
    let assessment = plant.service(320.0, 2.0, 0.6, 0.0);
    assert!(open(&assessment).contains(&SymptomKind::Saturation), "{:?}", assessment.symptoms);
    let text = &symptom(&assessment, SymptomKind::Saturation).unwrap().text;
    assert!(text.starts_with("load is 320/s, 2 ready replicas take about 20"), "{text}");
    assert!(text.ends_with("; 60 % of the workers are busy"), "{text}");
}

#[test]
fn busy_workers_open_saturation_without_any_learned_capacity() {
    let mut plant = catalog();
    let opened =
        (1..10).find(|_| open(&plant.service(500.0, 2.0, 0.97, 0.0)).contains(&SymptomKind::Saturation));
    assert_eq!(opened, Some(2));
    let resolved =
        (1..20).find(|_| !open(&plant.service(100.0, 8.0, 0.2, 0.0)).contains(&SymptomKind::Saturation));
    assert_eq!(resolved, Some(5));
}

#[test]
fn saturation_ends_also_where_a_policy_aims_high() {
    let mut plant = catalog();
    (0..5).for_each(|_| _ = plant.service(500.0, 2.0, 0.97, 0.0));
    let steady =
        |plant: &mut Plant| open(&plant.service(500.0, 3.0, 0.82, 0.0)).contains(&SymptomKind::Saturation);
    assert!((0..30).all(|_| steady(&mut plant)), "not at once: it may rise again");
    assert!((0..10).any(|_| !steady(&mut plant)));
}

#[test]
fn bad_second_opens_objective_at_once_and_counts_in_the_budget() {
    let mut plant = catalog();
    plant.promise(0.99);
    (0..100).for_each(|_| assert_eq!(open(&plant.calm()), []));
    let assessment = plant.service(80.0, 2.0, 0.4, 0.4);
    assert!(open(&assessment).contains(&SymptomKind::Objective));
    let objective = assessment.objective.unwrap();
    assert!((objective.good_ratio.unwrap() - 0.6).abs() < 1e-9);
    assert!(objective.budget_remaining_ratio.unwrap() < 1.0);
    assert!(objective.burn_rate_short.unwrap() > 5.0);
}

#[test]
fn unknown_is_never_judged_and_never_healthy() {
    let mut plant = catalog();
    plant.promise(0.99);
    (0..200).for_each(|_| _ = plant.calm());
    let names = ["load", "ready_replicas", "utilisation", "bad_ratio", "error_ratio"];
    let before = plant.shard.list("", "", 10);
    plant.gap = Some(DataGap {
        resource: plant.resource.clone(),
        sources_expected: 2,
        sources_seen: 0,
        reason: "no target answers".to_owned(),
    });
    for _ in 0..20 {
        let assessment = plant.tick(&names.map(|name| (name, None)));
        assert_eq!(open(&assessment), [SymptomKind::DataMissing]);
        assert_eq!(
            (assessment.data.quality, assessment.data.reason.as_str()),
            (Quality::Unknown, "no target answers")
        );
        assert_eq!(assessment.objective.as_ref().unwrap().standing, proto::model::ObjectiveStanding::Unknown);
        assert!(assessment.signals.iter().all(|glance| glance.value.is_none() && !glance.deviating));
    }
    let after = plant.shard.list("", "", 10);
    assert_eq!(
        before.iter().map(|s| s.samples).collect::<Vec<_>>(),
        after.iter().map(|s| s.samples).collect::<Vec<_>>()
    );
}

#[test]
fn a_signal_without_a_sample_at_the_tick_is_unknown_not_stale() {
    let mut plant = catalog();
    (0..10).for_each(|_| _ = plant.calm());
    let assessment = plant.tick(&[("load", Some(80.0))]);
    assert_eq!(assessment.value("utilisation"), None);
    assert_eq!(assessment.data.quality, Quality::Partial);
}

#[test]
fn no_traffic_is_not_missing_data() {
    let mut plant = catalog();
    plant.promise(0.99);
    (0..10).for_each(|_| _ = plant.calm());
    let rows = [
        ("load", Some(0.0)),
        ("ready_replicas", Some(2.0)),
        ("utilisation", Some(0.0)),
        ("bad_ratio", None),
        ("error_ratio", None),
    ];
    let assessment = plant.tick(&rows);
    assert_eq!((assessment.data.quality, open(&assessment)), (Quality::Good, vec![]));
}

#[test]
fn silence_turns_a_declared_resource_unknown_by_itself() {
    let mut plant = catalog();
    (0..10).for_each(|_| _ = plant.calm());
    plant.second += 2;
    let now = plant.now();
    assert!(
        plant.shard.expire(now, &mut plant.ids).assessments.is_empty(),
        "two intervals are not yet silence"
    );
    plant.second += 1;
    let now = plant.now();
    let assessment = plant.shard.expire(now, &mut plant.ids).assessments.pop().unwrap();
    assert_eq!(assessment.data.quality, Quality::Unknown);
    assert!(assessment.data.reason.starts_with("no samples arrive"), "{}", assessment.data.reason);
    assert_eq!((open(&assessment), assessment.at), (vec![SymptomKind::DataMissing], now));
    assert!(assessment.signals.iter().all(|glance| glance.value.is_none()));
    assert!(plant.shard.expire(now, &mut plant.ids).assessments.is_empty(), "told once per interval");
    let back = plant.calm();
    assert_eq!(back.data.quality, Quality::Good);
}

#[test]
fn declared_service_that_never_sends_is_unknown() {
    let mut plant = catalog();
    plant.promise(0.99);
    plant.second += 31;
    let now = plant.now();
    let assessment = plant.shard.expire(now, &mut plant.ids).assessments.pop().unwrap();
    assert!(assessment.data.reason.starts_with("no samples have arrived yet"), "{}", assessment.data.reason);
    assert!(plant.shard.undeclare(&plant.resource.clone()));
    plant.second += 31;
    let now = plant.now();
    assert!(plant.shard.expire(now, &mut plant.ids).assessments.is_empty());
}

#[test]
fn times_that_repeat_go_back_or_run_ahead_are_refused_and_counted() {
    let mut plant = catalog();
    plant.calm();
    let refused = |plant: &mut Plant, shift: i64| {
        let (second, clock) = (plant.second, plant.now());
        plant.second += shift;
        let batch = plant.batch(&[("load", Some(1.0))]);
        plant.second = second;
        plant.shard.ingest(&mut plant.dictionary, batch, clock, &mut plant.ids).refused
    };
    assert_eq!(refused(&mut plant, 0), BTreeMap::from([(Refusal::NotNewer, 1)]));
    assert_eq!(refused(&mut plant, -5), BTreeMap::from([(Refusal::NotNewer, 1)]));
    assert_eq!(refused(&mut plant, 31), BTreeMap::from([(Refusal::FromTheFuture, 1)]));
    assert_eq!(refused(&mut plant, 1), BTreeMap::new());
}

#[test]
fn after_our_own_clock_was_set_back_samples_are_taken_again() {
    let mut plant = catalog();
    plant.calm();
    plant.second -= 3_600;
    assert_eq!(plant.calm().value("ready_replicas"), Some(2.0));
}

#[test]
fn broken_rows_are_refused_with_their_reason() {
    let mut plant = catalog();
    let mut batch = plant.batch(&[("load", Some(1.0))]);
    batch.samples[0].handle = 77;
    assert_eq!(plant.send(batch).refused, BTreeMap::from([(Refusal::UnknownHandle, 1)]));
    let mut batch = plant.batch(&[("load", Some(1.0))]);
    batch.samples[0].value = Some(f64::NAN);
    assert_eq!(plant.send(batch).refused, BTreeMap::from([(Refusal::NotFinite, 1)]));
    let batch = plant.batch(&[("load", Some(f64::MAX))]);
    assert_eq!(plant.send(batch).refused, BTreeMap::from([(Refusal::NotFinite, 1)]));
    let batch = SampleBatch { interval: Duration::ZERO, ..plant.batch(&[("load", Some(1.0))]) };
    assert_eq!(plant.send(batch).refused, BTreeMap::from([(Refusal::NoInterval, 1)]));
    let mut other = Shard::new(ShardNumber::new(0).unwrap(), Settings::default());
    let (batch, now) = (plant.batch(&[("late", Some(1.0))]), plant.now());
    let refused = other.ingest(&mut Dictionary::default(), batch, now, &mut plant.ids).refused;
    assert_eq!(refused, BTreeMap::from([(Refusal::UnknownHandle, 1)]));
}

#[test]
fn steady_service_raises_no_symptom() {
    let mut plant = catalog();
    plant.promise(0.99);
    for second in 0..3_600 {
        let assessment = plant.calm();
        let bad: Vec<_> =
            assessment.symptoms.iter().filter(|symptom| symptom.state == SymptomState::Open).collect();
        assert!(bad.is_empty(), "after {second} s: {bad:?}");
    }
}

/// Poisson arrivals on a cycle, queueing that grows with load, a few random failures, the slowest of few requests.
#[test]
fn lifelike_service_and_edge_raise_no_symptom_for_hours() {
    let (mut service, mut calls) = (catalog(), edge());
    service.promise(0.99);
    for second in 0..5_400 {
        let rate = 60.0 + 25.0 * (f64::from(second) / 5_400.0 * std::f64::consts::TAU).sin();
        let n = (rate + rate.sqrt() * service.gauss()).round().max(1.0);
        let busy = (n * 0.0725 / 16.0 * (1.0 + 0.05 * service.gauss())).clamp(0.0, 1.0);
        let failed = (0..n as u32).filter(|_| service.noise.unit_f64() < 0.003).count() as f64;
        let slowest = (0..n as u32).map(|_| 0.06 * (0.5 * service.gauss()).exp()).fold(0.0, f64::max);
        let common =
            [("load", Some(n)), ("error_ratio", Some(failed / n)), ("latency_p99_seconds", Some(slowest))];
        let own =
            [("ready_replicas", Some(2.0)), ("utilisation", Some(busy)), ("bad_ratio", Some(failed / n))];
        for assessment in [service.tick(&[common.as_slice(), &own].concat()), calls.tick(&common)] {
            assert_eq!(open(&assessment), [], "after {second} s: {:?}", assessment.symptoms);
        }
    }
}

#[test]
fn a_trickle_of_failures_opens_dependency_in_seconds() {
    let mut plant = edge();
    let failed = |i: u32| if i.is_multiple_of(5) { 1.0 / 60.0 } else { 0.0 };
    (0..600).for_each(|i| assert_eq!(open(&plant.edge(60.0, Some(failed(i)))), []));
    let opened = (1..20).find(|_| open(&plant.edge(60.0, Some(0.08))).contains(&SymptomKind::Dependency));
    assert!(opened.is_some_and(|ticks| ticks <= 3), "{opened:?}");
}

#[test]
fn load_that_falls_away_opens_deviation_after_three_ticks() {
    let mut plant = catalog();
    (0..300).for_each(|_| _ = plant.calm());
    let opened =
        (1..10).find(|_| open(&plant.service(20.0, 2.0, 0.1, 0.0)).contains(&SymptomKind::Deviation));
    assert_eq!(opened, Some(3));
    let assessment = plant.service(20.0, 2.0, 0.1, 0.0);
    let found = symptom(&assessment, SymptomKind::Deviation).unwrap();
    assert!(found.text.starts_with("load is 20.0 and so below its learned limit"), "{}", found.text);
    assert_eq!(found.severity, proto::model::Severity::Low, "no objective suffers");
}

#[test]
fn undeclared_signals_are_learned_and_listed_but_not_assessed() {
    let mut plant = Plant::new("host:static/node");
    for _ in 0..5 {
        plant.second += 1;
        let mut batch = plant.batch(&[("cpu", Some(1.0)), ("disk", Some(2.0))]);
        batch.descriptors.iter_mut().for_each(|descriptor| descriptor.declared = false);
        let judged = plant.send(batch);
        assert_eq!((judged.accepted, judged.assessments.len()), (2, 0));
    }
    let listed = plant.shard.list("host:static/node#", "host:static/node#cpu", 10);
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].signal.name(), listed[0].samples, listed[0].warm_up_remaining), ("disk", 5, 55));
    assert!(plant.shard.list("host:z", "", 10).is_empty());
    assert_eq!(plant.shard.list("", "", 10).len(), 2);
}

#[test]
fn idle_undeclared_signals_are_forgotten_and_their_stream_is_told() {
    let mut plant = Plant::new("host:static/node");
    let mut batch = plant.batch(&[("cpu", Some(1.0))]);
    batch.descriptors[0].declared = false;
    plant.send(batch);
    let week = 7 * 86_400;
    for _ in 0..2 {
        plant.second += week;
        let now = plant.now();
        plant.shard.expire(now, &mut plant.ids);
    }
    assert_eq!(plant.shard.sizes().0, 0);
    let batch = plant.batch(&[("cpu", Some(1.0))]);
    let judged = plant.send(batch);
    assert!(judged.outdated);
    assert_eq!(judged.refused, BTreeMap::from([(Refusal::UnknownHandle, 1)]));
}

#[test]
fn ticks_of_one_batch_are_judged_in_the_order_of_their_times() {
    let mut plant = catalog();
    plant.calm();
    plant.second += 1;
    let mut later = plant.batch(&[("load", Some(2.0))]);
    let earlier = later.samples[0];
    plant.second += 1;
    let at = plant.now();
    later.samples.insert(0, Sample { at, value: Some(3.0), ..earlier });
    let judged = plant.send(later);
    let values: Vec<_> = judged.assessments.iter().map(|assessment| assessment.value("load")).collect();
    assert_eq!(values, [Some(2.0), Some(3.0)]);
}

#[test]
fn a_new_signal_is_judged_by_what_its_likes_learned_until_it_proves_different() {
    let mut priors = crate::learn::Priors::default();
    for replica in 0..3 {
        let mut plant = Plant::new(&format!("service:staging/catalog-{replica}"));
        (0..400).for_each(|_| _ = plant.calm());
        plant.shard.lessons().for_each(|lesson| priors.learn(&lesson));
    }
    let after_twenty = |lent: bool, usual: f64| {
        let mut plant = catalog();
        plant.second += 1;
        let batch = plant.batch(&[("load", Some(80.0))]);
        for (signal, kind) in plant.send(batch).strangers.into_iter().filter(|_| lent) {
            plant.shard.lend(&signal, priors.of(signal.name(), kind).unwrap());
        }
        for i in 0..20 {
            plant.tick(&[("load", Some(if i % 2 == 0 { usual } else { 160.0 - usual }))]);
        }
        plant.tick(&[("load", Some(800.0))]).signals[0].deviating
    };
    assert!(after_twenty(true, 82.0), "60 samples are needed for limits of its own");
    assert!(!after_twenty(false, 82.0), "alone it knows nothing yet");
    assert!(!after_twenty(true, 10.0), "it is not like them: nothing is said until it knows itself");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same batches give the same assessments, ids included.
    #[test]
    fn the_same_batches_give_the_same_assessments(ticks in prop::collection::vec((0.0..500.0_f64, 0.0..1.0_f64, 0.0..1.0_f64), 1..120)) {
        let run = || {
            let mut plant = catalog();
            plant.promise(0.99);
            ticks.iter().map(|(load, busy, bad)| plant.service(*load, 2.0, *busy, *bad)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn signals_are_listed_in_the_order_of_their_texts_and_pages_join() {
    let number = ShardNumber::new(7).unwrap();
    let mut shard = Shard::new(number, Settings::default());
    let resources = (0..20_000).filter_map(|i| {
        let separator = ["", "!", "-", "\"", "."][i % 5];
        let id: ResourceId = format!("service:a/web{separator}{}", i / 5).parse().ok()?;
        (id.shard() == number).then_some(id)
    });
    let signals: Vec<SignalId> = resources
        .take(60)
        .flat_map(|id| ["load", "latency", "a#b", "!"].map(|name| SignalId::new(id.clone(), name).unwrap()))
        .collect();
    let descriptor = |(handle, signal): (u32, &SignalId)| SignalDescriptor {
        handle,
        signal: signal.clone(),
        kind: SignalKind::Gauge,
        unit: String::new(),
        declared: false,
    };
    let batch = SampleBatch {
        sequence: 1,
        shard: number,
        sender: "test".to_owned(),
        descriptors: (0..).zip(&signals).map(descriptor).collect(),
        samples: Vec::new(),
        interval: SECOND,
        gaps: Vec::new(),
    };
    let now = Timestamp::from_second(START).unwrap();
    shard.ingest(&mut Dictionary::default(), batch, now, &mut IdGenerator::from_seed(1));
    let mut texts: Vec<String> = signals.iter().map(ToString::to_string).collect();
    texts.sort();
    let list = |prefix: &str, after: &str, limit| -> Vec<String> {
        shard.list(prefix, after, limit).iter().map(|signal| signal.signal.to_string()).collect()
    };
    assert_eq!(list("", "", usize::MAX), texts);
    let of = |prefix: &str, after: &str| -> Vec<String> {
        let wanted = texts.iter().filter(|text| text.starts_with(prefix) && after < text.as_str());
        wanted.cloned().collect()
    };
    for prefix in ["service:a/web!", "service:a/web1", &texts[17], &texts[17][..texts[17].len() - 2], "z", ""]
    {
        for after in texts.iter().step_by(11).map(String::as_str).chain(["", "service:a/web-", "z"]) {
            assert_eq!(list(prefix, after, usize::MAX), of(prefix, after), "{prefix} {after}");
        }
    }
    assert_eq!(list("", &texts[4], 3), texts[5..8]);
}
