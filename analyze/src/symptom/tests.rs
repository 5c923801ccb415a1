//! Lives of symptoms.

use super::*;

const KIND: SymptomKind = SymptomKind::Objective;

struct Life {
    log: SymptomLog,
    ids: IdGenerator,
    second: i64,
}

impl Life {
    fn new() -> Self {
        Self { log: SymptomLog::default(), ids: IdGenerator::from_seed(1), second: 1_000 }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_second(self.second).unwrap()
    }

    fn tick(&mut self, finding: Finding) -> Option<Transition> {
        self.second += 1;
        self.log.observe(KIND, finding, self.at(), &mut self.ids)
    }

    fn symptom(&self) -> Symptom {
        self.log.shown(self.at()).next().unwrap().clone()
    }
}

fn trouble(level: f64, burn: f64) -> Finding {
    Finding::Trouble(Trouble { level, burn, confidence: 1.0, text: "bad".to_owned(), evidence: Vec::new() })
}

#[test]
fn full_level_opens_at_once_and_five_quiet_ticks_resolve() {
    let mut life = Life::new();
    assert_eq!(life.tick(trouble(1.0, 20.0)), Some(Transition::Opened));
    assert_eq!(life.symptom().severity, Severity::Critical);
    for _ in 0..4 {
        assert_eq!(life.tick(Finding::Clear), None);
    }
    assert_eq!(life.tick(Finding::Clear), Some(Transition::Resolved));
    assert_eq!(life.symptom().state, SymptomState::Resolved);
}

#[test]
fn suspicion_that_comes_to_nothing_is_dismissed() {
    let mut life = Life::new();
    assert_eq!(life.tick(trouble(0.1, 1.0)), None);
    assert_eq!(life.log.shown(life.at()).count(), 0, "too little to mention");
    assert_eq!(life.tick(trouble(0.5, 1.0)), None);
    assert_eq!((life.symptom().state, life.symptom().opened_at), (SymptomState::Suspected, None));
    let transitions: Vec<_> = (0..5).filter_map(|_| life.tick(Finding::Clear)).collect();
    assert_eq!(transitions, [Transition::Dismissed]);
}

#[test]
fn keeps_open_while_signal_is_absent() {
    let mut life = Life::new();
    life.tick(trouble(1.0, 1.0));
    (0..1_000).for_each(|_| assert_eq!(life.tick(Finding::Unknown), None));
    assert!(life.log.is_open(KIND));
    (0..1_000).for_each(|_| assert_eq!(life.tick(Finding::Between), None));
    assert!(life.log.is_open(KIND));
}

#[test]
fn trouble_that_returns_is_the_same_symptom_and_needs_more_quiet() {
    let mut life = Life::new();
    life.tick(trouble(1.0, 1.0));
    let id = life.symptom().id;
    (0..5).for_each(|_| _ = life.tick(Finding::Clear));
    life.tick(trouble(1.0, 1.0));
    assert_eq!((life.symptom().id, life.symptom().ended_at), (id.clone(), None));
    let quiet = (1..).find(|_| life.tick(Finding::Clear).is_some());
    assert_eq!(quiet, Some(10));
    life.second += 61;
    life.tick(trouble(1.0, 1.0));
    assert_ne!(life.symptom().id, id, "after the flap window it is another one");
}

#[test]
fn ended_symptoms_are_shown_for_a_minute() {
    let mut life = Life::new();
    life.tick(trouble(1.0, 1.0));
    (0..5).for_each(|_| _ = life.tick(Finding::Clear));
    life.second += 60;
    assert_eq!(life.log.shown(life.at()).count(), 1);
    life.second += 1;
    assert_eq!(life.log.shown(life.at()).count(), 0);
}

#[test]
fn one_tick_does_not_change_the_severity_of_an_open_symptom() {
    let mut life = Life::new();
    life.tick(trouble(1.0, 2.0));
    assert_eq!(life.symptom().severity, Severity::Medium);
    life.tick(trouble(1.0, 50.0));
    assert_eq!(life.symptom().severity, Severity::Medium);
    life.tick(trouble(1.0, 50.0));
    assert_eq!(life.symptom().severity, Severity::Critical);
    (0..9).for_each(|_| _ = life.tick(trouble(1.0, 0.0)));
    assert_eq!(life.symptom().severity, Severity::Critical);
    life.tick(trouble(1.0, 0.0));
    assert_eq!(life.symptom().severity, Severity::Low);
}

#[test]
fn escalation_is_let_through_while_the_symptom_is_open() {
    let mut life = Life::new();
    life.tick(trouble(1.0, 2.0));
    assert_eq!(life.tick(trouble(1.0, 20.0)), None, "it is open already: nothing opens again");
    life.tick(trouble(1.0, 20.0));
    assert_eq!((life.symptom().severity, life.symptom().state), (Severity::Critical, SymptomState::Open));
}

#[test]
fn a_suspicion_shows_what_it_rests_on_and_the_newest_words() {
    let mut life = Life::new();
    let evidence =
        vec![SymptomEvidence { signal: "load".to_owned(), value: None, lower: None, upper: Some(2.0) }];
    let told = |text: &str| {
        let (text, evidence) = (text.to_owned(), evidence.clone());
        Finding::Trouble(Trouble { level: 0.5, burn: 1.0, confidence: 1.0, text, evidence })
    };
    life.tick(told("first"));
    life.tick(told("then"));
    assert_eq!((life.symptom().text.as_str(), life.symptom().evidence), ("then", evidence));
}
