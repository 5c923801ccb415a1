//! Models of seasons through the API, on a real Postgres.

use super::support::{Lab, database, millis, start};
use proto::client::Seasonalities;
use proto::model::{SeasonalPeriod, SeasonalityModel, SeasonalityState};

use SeasonalityState::{Active, Superseded};

const LOAD: &str = "service:staging/catalog#load";

async fn lab() -> Lab<Seasonalities> {
    start(database().await, Seasonalities::new).await
}

impl Lab<Seasonalities> {
    fn found(&self, signal: &str, generation: u64) -> SeasonalityModel {
        let now = millis(self.ctx.clock.now());
        let day = SeasonalPeriod {
            length_s: 86_400.0,
            strength: 0.8,
            chance: 1e-12,
            autocorrelation: 0.75,
            cycles: 21.0,
            starts_at: now,
            shape: (0..200).map(|i| i as f32).collect(),
        };
        SeasonalityModel {
            signal: signal.parse().unwrap(),
            generation,
            state: Active,
            method: "spectrum+nested-F".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            periods: vec![SeasonalPeriod { length_s: 604_800.0, strength: 0.1, ..day.clone() }, day],
            samples: 672 + generation,
            interval_s: 3_600.0,
            explained_ratio: 0.9,
            level: 10.0,
            evidence_from: now,
            evidence_to: now,
            created_at: now,
        }
    }

    async fn states(&self) -> Vec<(u64, SeasonalityState)> {
        let mut history = self.knowledge.history(LOAD.parse().unwrap(), 0).await.unwrap();
        history.reverse();
        history.into_iter().map(|version| (version.generation, version.state)).collect()
    }
}

#[tokio::test]
async fn the_newest_model_is_in_force_and_the_ones_before_are_its_history() {
    let lab = lab().await;
    let first = lab.found(LOAD, 1);
    let stored = lab.knowledge.record(vec![first.clone()]).await.unwrap();
    assert_eq!(stored, std::slice::from_ref(&first));
    assert_eq!(
        lab.knowledge.record(vec![first.clone()]).await.unwrap(),
        stored,
        "told again, nothing changes"
    );
    lab.knowledge.record(vec![lab.found(LOAD, 2), lab.found(LOAD, 3)]).await.unwrap();
    assert_eq!(lab.states().await, [(1, Superseded), (2, Superseded), (3, Active)]);
    let history = lab.knowledge.history(LOAD.parse().unwrap(), 2).await.unwrap();
    assert_eq!(history[0], lab.found_as(&history[0], 3));
    assert_eq!(history.len(), 2);
}

#[tokio::test]
async fn a_learner_that_counts_wrongly_gets_the_next_number() {
    let lab = lab().await;
    lab.knowledge.record(vec![lab.found(LOAD, 1)]).await.unwrap();
    let stored = lab.knowledge.record(vec![lab.found(LOAD, 9)]).await.unwrap();
    assert_eq!(stored[0].generation, 2);
    assert_eq!(lab.states().await, [(1, Superseded), (2, Active)]);
}

#[tokio::test]
async fn models_survive_a_restart_of_knowledge() {
    let lab = lab().await;
    let stored = lab.knowledge.record(vec![lab.found(LOAD, 1)]).await.unwrap();
    let again = start(lab.database.clone(), Seasonalities::new).await;
    assert_eq!(again.knowledge.history(LOAD.parse().unwrap(), 0).await.unwrap(), stored);
}

#[tokio::test]
async fn pages_follow_one_another_and_leave_the_shapes_out() {
    let lab = lab().await;
    let signals: Vec<String> = (0..5).map(|n| format!("service:staging/s{n}#load")).collect();
    for generation in 1..=2 {
        let models = signals.iter().map(|signal| lab.found(signal, generation)).collect();
        lab.knowledge.record(models).await.unwrap();
    }
    lab.knowledge.record(vec![lab.found("service:other/s#load", 1)]).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = lab.knowledge.list("service:staging/", &after, 2).await.unwrap();
        assert!(page.models.iter().flat_map(|model| &model.periods).all(|period| period.shape.is_empty()));
        after = page.models.last().unwrap().signal.to_string();
        seen.extend(page.models.into_iter().map(|model| (model.signal.to_string(), model.generation)));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, signals.into_iter().map(|signal| (signal, 2)).collect::<Vec<_>>());
    assert_eq!(lab.knowledge.list("", "", 0).await.unwrap().models.len(), 6);
}

#[tokio::test]
async fn only_the_last_hundred_versions_of_a_signal_are_kept() {
    let lab = lab().await;
    for batch in 0..3_u64 {
        let models = (1..=50).map(|n| lab.found(LOAD, batch * 50 + n)).collect();
        lab.knowledge.record(models).await.unwrap();
    }
    let states = lab.states().await;
    assert_eq!((states.len(), states[0], states[99]), (100, (51, Superseded), (150, Active)));
}

#[tokio::test]
async fn instances_that_record_at_once_give_out_each_number_once() {
    let lab = lab().await;
    let records = (0..8).map(|_| lab.knowledge.record(vec![lab.found(LOAD, 0)]));
    futures::future::try_join_all(records).await.unwrap();
    let expect: Vec<_> = (1..=8).map(|n| (n, if n == 8 { Active } else { Superseded })).collect();
    assert_eq!(lab.states().await, expect);
}

#[tokio::test]
async fn what_cannot_be_a_model_is_refused_whole() {
    let lab = lab().await;
    let wrong = SeasonalityModel { explained_ratio: 1.5, ..lab.found(LOAD, 2) };
    let error = lab.knowledge.record(vec![lab.found(LOAD, 1), wrong]).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::InvalidArgument));
    assert!(error.to_string().contains("explained_ratio"), "{error}");
    assert_eq!(lab.states().await, []);
}

impl Lab<Seasonalities> {
    /// The model of that generation, made when `stored` was.
    fn found_as(&self, stored: &SeasonalityModel, generation: u64) -> SeasonalityModel {
        let SeasonalityModel { evidence_from, evidence_to, created_at, .. } = *stored;
        let mut model = self.found(LOAD, generation);
        model.periods.iter_mut().for_each(|period| period.starts_at = created_at);
        SeasonalityModel { evidence_from, evidence_to, created_at, ..model }
    }
}
