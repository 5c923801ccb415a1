//! Guards outside the learner: the ejection cap holds for every number of hosts and every pattern of illness.

use breaker::guard::EjectionGuard;
use proptest::prelude::*;

proptest! {
    // PROPTEST_CASES=1000000 for the long run.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(20_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn never_more_than_the_cap_or_the_stated_minimum_and_never_all(
        illness in prop::collection::vec(prop::option::of(-1e3f64..1e3), 1..=200),
        share_max in 0.0f64..=1.0,
        always in 0usize..5,
        healthy_min in 0usize..10,
        panic_share in 0.0f64..=1.0,
    ) {
        let guard = EjectionGuard { share_max, always, healthy_min, panic_share };
        let hosts = illness.len();
        let out = guard.choose(&illness);
        let cap = ((hosts as f64 * share_max).floor() as usize).max(always);
        prop_assert!(out.len() <= cap);
        prop_assert!(out.len() < hosts, "never all");
        prop_assert!(out.is_empty() || hosts - out.len() >= healthy_min.max(1));
        prop_assert!(out.iter().all(|&host| illness[host].is_some()), "only the ill");
        let mut unique = out.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), out.len());
    }
}

#[test]
fn the_worst_go_first_and_in_a_panic_nobody_goes() {
    let guard = EjectionGuard { share_max: 0.2, ..EjectionGuard::default() };
    let mut illness = vec![None; 10];
    (illness[3], illness[5], illness[7]) = (Some(1.0), Some(3.0), Some(2.0));
    assert_eq!(guard.choose(&illness), [5, 7]);
    let illness: Vec<_> = (0..10).map(|host| (host < 6).then_some(1.0)).collect();
    assert_eq!(guard.choose(&illness), [0usize; 0]);
    assert_eq!(guard.most(1), 0, "a single host always stays");
    assert_eq!(guard.most(3), 1);
}
