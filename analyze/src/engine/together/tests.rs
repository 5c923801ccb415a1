//! What a resource's signals say together, over the real engine.

use proto::model::{Assessment, SymptomKind};

use crate::engine::tests::Plant;

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
const DAY: u32 = 1_440;

/// A service whose signals follow one slow common movement that never repeats.
struct Service {
    plant: Plant,
    common: f64,
    ready: f64,
}

impl Service {
    fn new() -> Self {
        let mut plant = Plant::new("service:staging/catalog");
        plant.interval = MINUTE;
        Self { plant, common: 0.0, ready: 2.0 }
    }

    /// The next minute. `parted`: the queue moves against the others, as far as it ever moved with them.
    fn minute(&mut self, parted: bool) -> Assessment {
        self.common = 0.995 * self.common + 0.1 * self.plant.gauss();
        let common = self.common;
        let mut near = |level: f64, common: f64| level * (1.0 + 0.1 * common + 0.01 * self.plant.gauss());
        let load = near(100.0, common);
        let rows = [
            ("load", load),
            ("cache_reads", near(300.0, common)),
            ("disk_reads", near(20.0, common)),
            ("queue", near(50.0, if parted { -common } else { common })),
            ("utilisation", near(load / 100.0 / self.ready, 0.0)),
            ("ready_replicas", self.ready),
        ];
        self.plant.second += 59;
        self.plant.tick(&rows.map(|(name, value)| (name, Some(value))))
    }

    /// Minutes until the signals are told to be apart.
    fn until_apart(&mut self, minutes: u32, parted: bool) -> Option<Assessment> {
        (0..minutes).map(|_| self.minute(parted)).find(|assessment| told(assessment).is_some())
    }
}

/// The sentence of an open symptom that speaks of signals together.
fn told(assessment: &Assessment) -> Option<&str> {
    let open = assessment.symptoms.iter().filter(|symptom| symptom.is_open());
    let mut deviations = open.filter(|symptom| symptom.kind == SymptomKind::Deviation);
    deviations.find(|symptom| symptom.text.contains("together")).map(|symptom| symptom.text.as_str())
}

#[test]
fn a_correlation_that_breaks_opens_a_symptom_that_names_the_signal_though_no_signal_shows_it_alone() {
    let mut service = Service::new();
    (0..8 * DAY).for_each(|_| _ = service.minute(false));
    assert_eq!(service.until_apart(DAY, false).map(|calm| calm.symptoms), None);
    let assessment = service.until_apart(DAY, true).unwrap();
    assert!(
        assessment.signals.iter().all(|signal| !signal.deviating && signal.deviation.is_none()),
        "{:?}",
        assessment.signals
    );
    let text = told(&assessment).unwrap();
    assert!(text.contains("queue ("), "{text}");
    let symptom = assessment.symptoms.iter().find(|symptom| symptom.kind == SymptomKind::Deviation).unwrap();
    assert_eq!(symptom.evidence[0].signal, "queue");
}

#[test]
fn more_replicas_are_no_news() {
    let mut service = Service::new();
    (0..9 * DAY).for_each(|_| _ = service.minute(false));
    service.ready = 4.0;
    assert_eq!(service.until_apart(DAY / 2, false).map(|scaled| scaled.symptoms), None);
}

#[test]
fn a_signal_that_comes_later_joins_those_that_are_known() {
    let mut service = Service::new();
    (0..DAY).for_each(|_| _ = service.minute(false));
    let known = |service: &Service| {
        let resource = service.plant.shard.block(0).1.next().unwrap();
        resource.together().names().to_vec()
    };
    assert_eq!(known(&service), ["cache_reads", "disk_reads", "load", "queue", "utilisation"]);
    service.plant.second += 59;
    service.plant.tick(&[("load", Some(100.0)), ("beds", Some(1.0))]);
    assert_eq!(known(&service), ["beds", "cache_reads", "disk_reads", "load", "queue", "utilisation"]);
}

#[test]
fn of_many_signals_the_first_of_each_metric_are_followed() {
    let mut plant = Plant::new("service:staging/catalog");
    let cpus: Vec<String> = (10..60).map(|cpu| format!("cpu{{cpu=\"{cpu}\"}}")).collect();
    let rows: Vec<_> = cpus.iter().map(String::as_str).chain(["load", "zeal"]).collect();
    plant.tick(&rows.iter().map(|name| (*name, Some(1.0))).collect::<Vec<_>>());
    let resource = plant.shard.block(0).1.next().unwrap();
    let names = resource.together().names();
    assert_eq!(names.len(), super::SIGNALS_MAX);
    assert_eq!(names[names.len() - 2..], ["load", "zeal"]);
    assert_eq!(names[0], "cpu{cpu=\"10\"}");
}
