//! The learner on series whose nature is known.

use chassis::IdGenerator;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Series {
    detector: ResidualDetector,
    settings: Settings,
    kind: SignalKind,
    ids: IdGenerator,
    second: i64,
    versions: u64,
    discarded: u64,
}

impl Series {
    fn new(settings: Settings) -> Self {
        let ids = IdGenerator::from_seed(11);
        let detector = ResidualDetector::default();
        Self {
            detector,
            settings,
            kind: SignalKind::Gauge,
            ids,
            second: 1_000_000,
            versions: 0,
            discarded: 0,
        }
    }

    fn see(&mut self, value: f64) -> Evidence {
        self.see_quality(value, Quality::Good)
    }

    fn see_quality(&mut self, value: f64, quality: Quality) -> Evidence {
        self.second += 1;
        let at = Timestamp::from_second(self.second).unwrap();
        let evidence = self.detector.observe(at, Reading { value, quality, kind: self.kind }, None);
        match self.detector.propose(at, SECOND, &self.settings) {
            Some(Learned::Version(_)) => self.versions += 1,
            Some(Learned::Discarded) => self.discarded += 1,
            None => {}
        }
        evidence
    }

    fn gauss(&mut self) -> f64 {
        let (u, v) = (1.0 - self.ids.unit_f64(), self.ids.unit_f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Warm, at 100 with a standard deviation of 1.
    fn warm(samples: usize) -> Self {
        let mut series = Self::new(Settings::default());
        for _ in 0..samples {
            let value = 100.0 + series.gauss();
            series.see(value);
        }
        series
    }

    /// Share of samples that deviate, among `samples` after the warm-up, when one in a thousand may.
    fn false_alarms(samples: u32, draw: impl Fn(&mut Self) -> f64) -> f64 {
        let false_alarm_budget = SECOND * 1_000;
        let mut series = Self::new(Settings { false_alarm_budget, ..Settings::default() });
        let mut alarms = 0;
        for _ in 0..samples {
            let value = draw(&mut series);
            alarms += u32::from(series.see(value).deviating);
        }
        f64::from(alarms) / f64::from(samples)
    }
}

#[test]
fn false_alarms_are_as_rare_as_stated_whatever_the_distribution() {
    const SAMPLES: u32 = 100_000;
    let check = |name: &str, share: f64, most: f64| {
        // At most `most` times the one in a thousand that was stated; far fewer would mean blindness.
        assert!(share <= most * 1e-3, "{name}: {share}");
        assert!(share >= 0.02e-3, "{name}: {share}");
    };
    check("gaussian", Series::false_alarms(SAMPLES, |s| 100.0 + s.gauss()), 3.0);
    check("lognormal", Series::false_alarms(SAMPLES, |s| (0.5 * s.gauss()).exp()), 3.0);
    check("wide lognormal", Series::false_alarms(SAMPLES, |s| s.gauss().exp()), 3.0);
    let student = |s: &mut Series| {
        let squares: f64 = (0..3).map(|_| s.gauss().powi(2)).sum();
        50.0 + s.gauss() / (squares / 3.0).sqrt()
    };
    check("student with 3 degrees", Series::false_alarms(SAMPLES, student), 4.0);
    check("exponential", Series::false_alarms(SAMPLES, |s| -(1.0 - s.ids.unit_f64()).ln()), 3.0);
    let counts = |s: &mut Series| (0..40).filter(|_| s.ids.unit_f64() < 0.2).count() as f64;
    check("counts", Series::false_alarms(SAMPLES, counts), 4.0);
}

#[test]
fn the_default_budget_gives_next_to_no_alarm_in_a_day() {
    let mut series = Series::warm(0);
    let mut alarms = 0;
    for _ in 0..86_400 {
        let value = 100.0 + series.gauss();
        alarms += u32::from(series.see(value).deviating);
    }
    assert!(alarms <= 1, "{alarms} alarms where one in four weeks is stated");
    assert!(series.detector.coverage() > 0.999);
    let evidence = series.see(100.0);
    let (lower, upper) = (evidence.lower.unwrap(), evidence.upper.unwrap());
    assert!(
        (4.5..8.0).contains(&(upper - 100.0)) && (4.5..8.0).contains(&(100.0 - lower)),
        "{lower} {upper}"
    );
}

/// A flash crowd that begins with the signal and lasts for some seconds: from 100 to 1,000 requests per second and back.
fn after_a_crowd(seconds: u32, calm: u32) -> Series {
    let mut series = Series::new(Settings::default());
    series.kind = SignalKind::Rate;
    for second in 0..seconds + calm {
        let crowd = 900.0 * (f64::from(second) / f64::from(seconds) * std::f64::consts::PI).sin();
        let value = if second < seconds { 100.0 + crowd } else { 100.0 };
        let value = value + 5.0 * series.gauss();
        series.see(value);
    }
    series
}

#[test]
fn limits_learned_after_a_crowd_are_those_of_calm() {
    for crowd in [40, 58, 90, 130] {
        let mut series = after_a_crowd(crowd, 200);
        assert_eq!(series.detector.state(), ThresholdState::Active, "{crowd}");
        let evidence = series.see(100.0);
        assert!(evidence.upper.unwrap() < 200.0, "{crowd}: {evidence:?}");
    }
}

#[test]
fn a_signal_that_never_calms_down_has_limits_all_the_same() {
    let mut series = Series::new(Settings::default());
    let samples = 60 * (u32::from(RESTARTS_MAX) + 1);
    for sample in 0..samples {
        assert_eq!(series.versions, 0, "{sample}");
        let value = 100.0 + f64::from(sample) + series.gauss();
        series.see(value);
    }
    assert_eq!(series.versions, 1);
}

#[test]
fn what_counts_events_has_no_limit_below_zero_unless_a_person_says_so() {
    let draw = |kind| {
        let mut series = Series::new(Settings::default());
        series.kind = kind;
        for _ in 0..500 {
            let value = (5.0 + 4.0 * series.gauss()).abs();
            series.see(value);
        }
        series.see(5.0).lower.unwrap()
    };
    assert!(draw(SignalKind::Gauge) < 0.0, "a temperature may be");
    assert_eq!((draw(SignalKind::Rate), draw(SignalKind::Ratio)), (0.0, 0.0));
}

#[test]
fn nothing_deviates_before_the_warm_up_is_over() {
    let mut series = Series::warm(59);
    let early = series.see(1e9);
    assert!(!early.deviating && early.upper.is_none());
    assert_eq!(
        (series.versions, series.detector.state()),
        (1, ThresholdState::Active),
        "the 60th sample makes it warm"
    );
}

#[test]
fn level_shift_is_seen_and_not_absorbed_within_an_hour() {
    let mut series = Series::warm(3_000);
    let seen = (0..3_600).filter(|_| {
        let value = 115.0 + series.gauss();
        series.see(value).deviating
    });
    assert_eq!(seen.count(), 3_600);
    let after = series.see(100.0);
    assert!(!after.deviating && (after.expected.unwrap() - 100.0).abs() < 0.5, "{after:?}");
}

#[test]
fn shift_that_lasts_for_hours_becomes_the_normal_state() {
    let mut series = Series::warm(3_000);
    (0..8 * 3_600).for_each(|_| {
        let value = 115.0 + series.gauss();
        series.see(value);
    });
    assert!(!series.see(115.0).deviating);
    assert!(series.see(100.0).deviating, "and the old one is not");
}

#[test]
fn hair_on_a_flat_line_is_no_deviation_and_a_step_is() {
    for level in [0.0, 3.0, 1e6] {
        let mut series = Series::new(Settings::default());
        (0..500).for_each(|_| _ = series.see(level));
        assert!(!series.see(level + 1e-8).deviating, "{level}");
        assert!(!series.see(level - 1e-8).deviating, "{level}");
        assert!(series.see(level + 0.05 * level + 0.1).deviating, "{level}");
    }
    let mut ratio = Series { kind: SignalKind::Ratio, ..Series::new(Settings::default()) };
    (0..500).for_each(|_| _ = ratio.see(0.0));
    assert!(!ratio.see(0.004).deviating);
    assert!(ratio.see(0.02).deviating);
}

#[test]
fn one_absurd_value_neither_moves_the_level_nor_blinds_the_limits() {
    let mut series = Series::warm(10_000);
    let before = series.see(100.0);
    assert!(series.see(1e12).deviating);
    (0..7_200).for_each(|_| {
        let value = 100.0 + series.gauss();
        series.see(value);
    });
    let after = series.see(100.0);
    assert!((after.expected.unwrap() - before.expected.unwrap()).abs() < 0.5);
    assert!(after.upper.unwrap() - 100.0 < 2.0 * (before.upper.unwrap() - 100.0), "{before:?} {after:?}");
}

#[test]
fn partial_sums_are_not_low_and_teach_nothing() {
    let mut series = Series::warm(500);
    let samples = series.detector.samples();
    assert!(!series.see_quality(50.0, Quality::Partial).deviating);
    assert!(
        series.see_quality(200.0, Quality::Partial).deviating,
        "more than ever from only some is surely too much"
    );
    assert_eq!(series.detector.samples(), samples);
    assert!(series.see(50.0).deviating);
}

#[test]
fn limits_that_learned_more_replace_the_first_after_an_hour() {
    let series = Series::warm(3 * 3_600);
    assert!(series.versions >= 2, "{} versions", series.versions);
    assert_eq!(series.detector.generation(), series.versions);
}

#[test]
fn score_is_a_half_at_the_limit_and_grows_beyond() {
    let mut series = Series::warm(500);
    let upper = series.see(100.0).upper.unwrap();
    let score = |value| {
        series.detector.judge(Reading { value, quality: Quality::Good, kind: SignalKind::Gauge }, None).score
    };
    assert!((score(upper) - 0.5).abs() < 0.02);
    assert!(score(upper + 100.0) > score(upper + 10.0) && score(1e12) < 1.0);
}
