//! One answer of a target, from bytes to remembered series: parse, type, admit, absorb, with every loss counted.

use crate::admission::{self, admit};
use crate::declarations::Needs;
use crate::exposition::{self, Format, parse};
use crate::normalize::{Kind, Reading, normalize};
use crate::series::{Rules, Scrape, SeriesStore};
use crate::tally::Account;

use jiff::Timestamp;

/// An answer as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The bytes, perhaps cut at a limit.
    pub body: &'a [u8],
    /// Which grammar was announced.
    pub format: Format,
    /// When it arrived, by the wall clock.
    pub at: Timestamp,
    /// The same on a time line that never jumps.
    pub steady: Timestamp,
}

/// What to take in, and how.
#[derive(Debug, Clone, Copy)]
pub struct Intake<'a> {
    /// Limits on what is read.
    pub read: &'a exposition::Limits,
    /// Limits on what is kept.
    pub admit: &'a admission::Limits,
    /// How points become rates.
    pub rules: &'a Rules,
    /// What declared services need of this target.
    pub needs: &'a Needs,
}

/// Takes the answer into the target's store. `share` is asked how many of the series that are there may be kept, once
/// their number is known. Returns that number; what happened on the way goes to `account`.
pub fn observe(
    store: &mut SeriesStore,
    answer: Answer<'_>,
    intake: Intake<'_>,
    share: impl FnOnce(usize) -> usize,
    account: &mut Account,
) -> usize {
    let Intake { read, admit: limits, rules, needs } = intake;
    let exposition = parse(answer.body, answer.format, read);
    account.dropped.merge(&exposition.rejected);
    let complete = exposition.complete;
    let mut readings = normalize(exposition, &mut account.dropped);
    readings.iter_mut().for_each(|reading| reading.kind = kind(reading, needs));
    let wanted = readings.len();
    let share = share(wanted).min(limits.series_per_target);
    if wanted > share {
        let standings = store.standings(&readings, |metric| needs.any(metric));
        let mut admitted = admit(&standings, share, limits, &mut account.dropped).into_iter();
        readings.retain(|_| admitted.next().unwrap_or(false));
    }
    // A series left out may be let in later with any value: then the answer is no proof that it did not exist.
    let whole = complete && readings.len() == wanted;
    let scrape = Scrape { at: answer.at, steady: answer.steady, complete, whole };
    store.absorb(scrape, readings, rules, account);
    wanted
}

/// A declared role knows better than a missing or sloppy `# TYPE` what a series is.
fn kind(reading: &Reading<'_>, needs: &Needs) -> Kind {
    match reading.kind {
        Kind::Gauge if needs.counter(&reading.name) && reading.value >= 0.0 => Kind::Counter,
        Kind::Counter if needs.gauge(&reading.name) => Kind::Gauge,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::model::Quality;

    use super::*;
    use crate::declarations::Declarations;
    use crate::fixtures::{RULES, at, selector, service, target};
    use crate::raw::target_rows;
    use crate::roles::{View, service_rows};
    use crate::series::Measured;

    fn run(store: &mut SeriesStore, second: i64, body: &str, share: usize, needs: &Needs) -> Account {
        let read = exposition::Limits::default();
        let admit = admission::Limits::default();
        let intake = Intake { read: &read, admit: &admit, rules: &RULES, needs };
        let answer =
            Answer { body: body.as_bytes(), format: Format::Text, at: at(second), steady: at(second) };
        let mut account = Account::default();
        observe(store, answer, intake, |_| share, &mut account);
        account
    }

    fn needs() -> Needs {
        let busy = |spec: &mut proto::model::ServiceSpec| {
            spec.busy_seconds = Some(selector("busy"));
            spec.workers = Some(selector("workers_count"));
        };
        Declarations::new([service("catalog", busy)]).needs(&target("catalog", "a:1"))
    }

    #[test]
    fn a_declared_role_overrules_the_type() {
        let mut store = SeriesStore::default();
        run(&mut store, 0, "busy 1\nworkers_count 4\nother_count 4\n", 10, &needs());
        let measured = |metric: &str| store.fresh(metric).unwrap().next().unwrap().measured.clone();
        assert!(matches!(measured("busy"), Measured::Counter { .. }));
        assert!(matches!(measured("workers_count"), Measured::Gauge(_)));
        assert!(matches!(measured("other_count"), Measured::Counter { .. }));
    }

    #[test]
    fn under_pressure_declared_series_are_kept_and_every_loss_is_counted() {
        let mut store = SeriesStore::default();
        let account = run(&mut store, 0, "a 1\nb NaN\nc d\nready 1\ne 1\n", 2, &needs());
        assert!(store.fresh("ready").is_some() && store.fresh("a").is_some() && store.fresh("e").is_none());
        let counts: Vec<_> = account.dropped.iter().collect();
        assert_eq!(counts, [("not_a_number", 1), ("total_series_limit", 1), ("value", 1)]);
        run(&mut store, 10, "x 1\ne 1\na 1\nready 1\n", 2, &needs());
        assert!(store.fresh("ready").is_some() && store.fresh("a").is_some(), "what is known is kept");
    }

    #[test]
    fn a_series_that_is_let_in_late_has_no_growth_yet() {
        let mut store = SeriesStore::default();
        run(&mut store, 0, "a_total{x=\"1\"} 5\na_total{x=\"2\"} 900\n", 1, &Needs::default());
        run(&mut store, 10, "a_total{x=\"1\"} 5\na_total{x=\"2\"} 950\n", 2, &Needs::default());
        let late = store.fresh("a_total").unwrap().find(|entry| entry.label("x") == Some("2")).unwrap();
        assert!(matches!(late.measured, Measured::Counter { growth: Err(_), .. }));
    }

    /// Lines that meet in the same few series, well formed or not.
    fn any_line() -> impl Strategy<Value = String> {
        let name =
            prop::sample::select(vec!["a_total", "b", "h_bucket", "h_count", "requests_total", "ready"]);
        let label = prop::sample::select(vec![
            "",
            r#"{x="1"}"#,
            r#"{le="1"}"#,
            r#"{le="+Inf"}"#,
            r#"{le="-1",x="1"}"#,
            "{",
            r#"{x="\"}"#,
        ]);
        let value =
            prop_oneof![any::<f64>().prop_map(|v| format!("{v:?}")), (0..20_u32).prop_map(|v| v.to_string())];
        (name, label, value).prop_map(|(name, label, value)| format!("{name}{label} {value}\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a target says, at whatever times: no growth is negative or not a number, every signal is finite, and
        /// no more is remembered than is allowed.
        #[test]
        fn any_answers_at_any_times_give_honest_signals(
            answers in prop::collection::vec((-40_i64..40, prop::collection::vec(any_line(), 0..12), any::<bool>()), 1..12),
            share in 0_usize..8,
        ) {
            let declarations = Declarations::new([service("catalog", |_| {})]);
            let target = target("catalog", "a:1");
            let mut store = SeriesStore::default();
            let mut second = 0;
            for (step, lines, cut) in answers {
                second += step;
                let body = lines.concat() + if cut { "a_total 1" } else { "" };
                run(&mut store, second, &body, share, &declarations.needs(&target));
                prop_assert!(store.entries().filter(|(_, _, fresh)| *fresh).count() <= share);
                for (_, entry, _) in store.entries() {
                    if let Measured::Counter { growth: Ok(growth), .. } = &entry.measured {
                        prop_assert!(growth.amount >= 0.0 && growth.per_second() >= 0.0);
                    }
                }
                let mut all = vec![target_rows(&target, &store, Ok(()), &mut Account::default().dropped)];
                let view = View { target: &target, answer: Ok(&store) };
                declarations.services().for_each(|service| all.extend(service_rows(&service, &[view])));
                for row in all.iter().flat_map(|resource| &resource.rows) {
                    prop_assert!(row.value.is_none_or(f64::is_finite), "{row:?}");
                    prop_assert_eq!(row.value.is_none(), row.quality == Quality::Unknown);
                }
            }
        }
    }
}
