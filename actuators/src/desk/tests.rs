//! Order on the desk, and what each generation asks for.

use execute::testing::{at, breaker, cart, edge, id, scale};
use proto::model::BreakerMode;

use super::*;

fn delivery(name: &str, number: u64) -> Delivery {
    let resource = ResourceId::service("shop", name).unwrap();
    let directive = Directive { id: id(number), resource, ..scale(1, 2) };
    Delivery { directive, attempt: 1, revision: number, deadline: at(0) }
}

#[test]
fn one_resource_is_worked_on_in_order_and_others_beside_it() {
    let mut desk = Desk::default();
    assert!(desk.add(delivery("a", 1)).is_some());
    assert!(desk.add(delivery("a", 2)).is_none());
    assert!(desk.add(delivery("b", 3)).is_some());
    let a = ResourceId::service("shop", "a").unwrap();
    assert_eq!(desk.done(&a).map(|next| next.directive.id), Some(id(2)));
    assert_eq!(desk.done(&a), None);
    assert!(desk.add(delivery("a", 4)).is_some(), "a queue that ran empty begins anew");
}

#[test]
fn only_a_newer_generation_is_applied() {
    let desk = Desk::default();
    let with = |generation| Directive { generation: Generation(generation), ..scale(1, 2) };
    assert_eq!(desk.todo(&with(5), Generation(4)), Todo::Apply);
    assert_eq!(desk.todo(&with(5), Generation(5)), Todo::SayAgain);
    assert!(matches!(desk.todo(&with(5), Generation(6)), Todo::Refuse(_)));
    assert!(matches!(desk.todo(&with(0), Generation(0)), Todo::Refuse(_)), "advice");
}

#[test]
fn lost_memory_does_not_let_an_older_intent_in() {
    let mut desk = Desk::default();
    let accepted = |resource, kind| AppliedGeneration { resource, kind, generation: Generation(7) };
    desk.registered(vec![
        accepted(cart(), DirectiveKind::Scale),
        accepted(edge(), DirectiveKind::SetBreaker),
    ]);
    let old = Directive { generation: Generation(6), ..scale(1, 2) };
    assert!(matches!(desk.todo(&old, Generation(0)), Todo::Refuse(_)));
    assert_eq!(desk.todo(&Directive { generation: Generation(7), ..old }, Generation(0)), Todo::Apply);
    let standing = Directive { generation: Generation(6), ..breaker(BreakerMode::Enforce) };
    assert_eq!(
        desk.todo(&standing, Generation(0)),
        Todo::Apply,
        "the one in effect may be older than the newest intent"
    );
    desk.registered(vec![AppliedGeneration {
        generation: Generation(3),
        ..accepted(cart(), DirectiveKind::Scale)
    }]);
    let old = Directive { generation: Generation(6), ..scale(1, 2) };
    assert!(matches!(desk.todo(&old, Generation(0)), Todo::Refuse(_)), "what is known is not forgotten");
}
