//! Random schedules: whatever happens in whatever order, no rule is broken, and in the end nothing is stuck.

use proptest::prelude::*;
use proto::client::Delivery;

use super::*;

/// Services and edges that directives are about.
const RESOURCES: u64 = 2;
/// The first serves the exclusive kind, all serve the replicated one.
const INSTANCES: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    Propose {
        resource: u64,
        breaker: bool,
        reduces: bool,
        quorum_percent: u32,
    },
    Watch,
    Record(usize),
    Answer(usize),
    /// Everything goes as it should for a while.
    Flow,
    Advance(u64),
    Poll(usize),
    Report {
        instance: usize,
        word: Reported,
        drop: bool,
    },
    RepeatReport {
        instance: usize,
    },
    Register(usize),
    Subscribe {
        instance: usize,
        cursor: u64,
    },
    Unsubscribe(usize),
    EndLease(usize),
    Pause(bool),
    Assess {
        resource: u64,
        bad: Option<u32>,
    },
    Crash,
}

fn word() -> impl Strategy<Value = Reported> {
    prop_oneof![
        6 => Just(Reported::Applied),
        2 => Just(Reported::Accepted),
        1 => Just(Reported::Refused),
        1 => Just(Reported::Failed),
        1 => Just(Reported::Unknown),
        1 => Just(Reported::Simulated),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let instance = || 0..INSTANCES;
    prop_oneof![
        6 => (0..RESOURCES, any::<bool>(), any::<bool>(), 1..=100u32)
            .prop_map(|(resource, breaker, reduces, quorum_percent)| Op::Propose { resource, breaker, reduces, quorum_percent }),
        8 => Just(Op::Watch),
        5 => (1..6usize).prop_map(Op::Record),
        4 => (1..6usize).prop_map(Op::Answer),
        3 => Just(Op::Flow),
        4 => prop_oneof![1..2_000u64, 5_000..20_000u64, Just(61_000u64)].prop_map(Op::Advance),
        12 => instance().prop_map(Op::Poll),
        10 => (instance(), word(), prop::bool::weighted(0.1))
            .prop_map(|(instance, word, drop)| Op::Report { instance, word, drop }),
        2 => instance().prop_map(|instance| Op::RepeatReport { instance }),
        1 => instance().prop_map(Op::Register),
        2 => (instance(), 0..20u64).prop_map(|(instance, cursor)| Op::Subscribe { instance, cursor }),
        1 => instance().prop_map(Op::Unsubscribe),
        1 => instance().prop_map(Op::EndLease),
        2 => any::<bool>().prop_map(Op::Pause),
        4 => (0..RESOURCES, prop::option::of(0..100u32)).prop_map(|(resource, bad)| Op::Assess { resource, bad }),
        1 => Just(Op::Crash),
    ]
}

/// A schedule under way: the world, and what its actuators have in hand.
struct Run {
    world: World,
    in_hand: Vec<Vec<Delivery>>,
    said: Vec<Option<(Delivery, Reported)>>,
    proposed: u64,
}

fn service(number: u64) -> ResourceId {
    ResourceId::service("shop", &format!("s{number}")).unwrap()
}

fn edge_of(number: u64) -> ResourceId {
    ResourceId::edge("shop", "cart", &format!("s{number}")).unwrap()
}

impl Run {
    fn new() -> Self {
        let (in_hand, said) = (vec![Vec::new(); INSTANCES], vec![None; INSTANCES]);
        Self { world: World::new(INSTANCES), in_hand, said, proposed: 0 }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Propose { resource, breaker, reduces, quorum_percent } => {
                self.propose(resource, breaker, reduces, quorum_percent);
            }
            Op::Watch => self.world.watch(),
            Op::Record(count) => self.world.record(count),
            Op::Answer(count) => self.world.answer(count),
            Op::Flow => self.flow(),
            Op::Advance(millis) => self.world.advance(millis),
            Op::Poll(instance) => {
                if let Some(delivery) = self.world.poll(instance) {
                    self.in_hand[instance].push(delivery);
                }
            }
            Op::Report { instance, word, drop } => self.report(instance, word, drop),
            Op::RepeatReport { instance } => {
                if let Some((delivery, word)) = self.said[instance].clone() {
                    let first = self.say(instance, &delivery, word);
                    let again = self.say(instance, &delivery, word);
                    assert!(
                        again != Some(Disposition::Recorded) || first == Some(Disposition::Recorded),
                        "{first:?}, then {again:?}"
                    );
                }
            }
            Op::Register(instance) => self.world.register(instance),
            Op::Subscribe { instance, cursor } if self.world.is_registered(instance) => {
                self.world.subscribe(instance, cursor);
            }
            Op::Subscribe { .. } => {}
            Op::Unsubscribe(instance) => self.world.unsubscribe(instance),
            Op::EndLease(instance) => self.world.end_lease(instance),
            Op::Pause(paused) => self.world.pause(paused),
            Op::Assess { resource, bad } => self.assess(resource, bad),
            Op::Crash => self.world.crash(),
        }
    }

    fn propose(&mut self, number: u64, of_breaker: bool, reduces: bool, quorum_percent: u32) {
        self.proposed += 1;
        let (directive, resource) = match of_breaker {
            true => (breaker(BreakerMode::Enforce), edge_of(number)),
            false => (if reduces { scale(5, 3) } else { scale(3, 5) }, service(number)),
        };
        let place = (resource.clone(), directive.kind());
        let parent_generation = self.world.store.intents.get(&place).copied().unwrap_or_default();
        let quorum_ratio = f64::from(quorum_percent) / 100.0;
        let directive =
            Directive { id: id(self.proposed), resource, parent_generation, quorum_ratio, ..harm(directive) };
        let directive = self.world.dated(directive);
        self.world.propose(directive);
    }

    /// An instance works on the oldest delivery in hand; the report may get lost.
    fn report(&mut self, instance: usize, word: Reported, drop: bool) {
        if self.in_hand[instance].is_empty() {
            return;
        }
        let delivery = self.in_hand[instance][0].clone();
        if word.is_last_word() {
            self.in_hand[instance].remove(0);
        }
        if !drop {
            self.say(instance, &delivery, word);
            self.said[instance] = Some((delivery, word));
        }
    }

    fn say(&mut self, instance: usize, delivery: &Delivery, word: Reported) -> Option<Disposition> {
        let Directive { id, generation, .. } = delivery.directive;
        let answer = self.world.try_report(instance, id, generation, delivery.attempt, word);
        answer.ok().map(|answer| answer.disposition)
    }

    fn assess(&mut self, number: u64, bad: Option<u32>) {
        for resource in [service(number), edge_of(number)] {
            let signals =
                [("bad_ratio", bad.map(|percent| f64::from(percent) / 100.0)), ("ready_replicas", Some(3.0))];
            let now = self.world.now().wall;
            self.world.engine.assess(assessment(&resource, self.world.millis, &signals), now);
        }
    }

    fn flow(&mut self) {
        self.world.watch();
        for instance in 0..INSTANCES {
            while let Some(delivery) = self.world.poll(instance) {
                self.say(instance, &delivery, Reported::Applied);
            }
        }
        self.world.settle();
    }

    /// Everything works again: all are there, everyone answers, data comes.
    fn calm(&mut self) {
        self.world.pause(false);
        for instance in 0..INSTANCES {
            self.world.register(instance);
            self.world.subscribe(instance, 0);
            self.in_hand[instance].clear();
        }
        for _ in 0..200 {
            self.flow();
            self.world.advance(1_000);
            for number in 0..RESOURCES {
                self.assess(number, Some(0));
            }
            self.world.settle();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_rule_is_broken_and_nothing_is_stuck(ops in prop::collection::vec(op(), 1..200)) {
        let mut run = Run::new();
        for op in &ops {
            run.step(op);
        }
        run.calm();
        for record in run.world.store.directives.values() {
            let stuck = record.state.under_way() || record.state == DirectiveState::Proposed;
            prop_assert!(!stuck, "{} is stuck in {}", record.directive.id, record.state);
        }
        prop_assert_eq!(run.world.engine.unrecorded(), 0);
        let open = run.world.engine.directives().1;
        prop_assert_eq!(open, 0, "directives are left open in memory");
    }
}
