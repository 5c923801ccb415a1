//! All that judges one signal in production: the thresholds that people review, and the detectors, which are those of
//! `homeostat detect`.

use jiff::Timestamp;
use proto::model::{Quality, SignalDeviation, SignalKind, SignalView};

use super::{Evidence, Judgement, Reading, ResidualDetector, Series, SeriesSettings, View};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// The engine of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// What people see and review.
    pub thresholds: ResidualDetector,
    series: Series,
    deviation: Option<SignalDeviation>,
}

/// What is said of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Verdict {
    /// By the threshold in force.
    pub evidence: Evidence,
    /// By the detectors; `None` for a sample of which only some of the sources are known.
    pub judgement: Option<Judgement>,
}

impl Verdict {
    /// Whether the sample lies outside what was usual before an alert that is not over, and then whether above it.
    #[must_use]
    pub fn astray(&self, value: f64) -> Option<bool> {
        let Judgement { severity, lower, upper, .. } = self.judgement?;
        let (is_below, is_above) =
            (lower.is_some_and(|lower| value < lower), upper.is_some_and(|upper| value > upper));
        (severity > 0.0 && (is_below || is_above)).then_some(is_above)
    }
}

impl Engine {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: SeriesSettings) -> Self {
        Self { thresholds: ResidualDetector::default(), series: Series::new(settings), deviation: None }
    }

    /// Judges by earlier samples only, then learns.
    pub fn observe(&mut self, at: Timestamp, sample: Reading) -> Verdict {
        let evidence = self.thresholds.observe(at, sample, self.series.season(at));
        // A partial value describes only some of the sources: to the detectors it would be news that some are missing.
        let known = sample.quality == Quality::Good;
        let judgement = if known { self.series.observe(at, sample.value) } else { None };
        if let Some(judgement) = judgement {
            self.follow(at, &judgement);
        }
        Verdict { evidence, judgement }
    }

    /// The last alert, until its severity has faded.
    #[must_use]
    pub fn deviation(&self) -> Option<SignalDeviation> {
        self.deviation
    }

    /// The band of the threshold that a sample meets at this time.
    #[must_use]
    pub fn band(&self, at: Option<Timestamp>, kind: SignalKind) -> Evidence {
        self.thresholds.band(kind, at.and_then(|at| self.series.season(at)))
    }

    fn follow(&mut self, at: Timestamp, judgement: &Judgement) {
        let Judgement { severity, view, confidence, deviation, .. } = *judgement;
        if deviation {
            let view = SignalView::from(view);
            self.deviation = Some(SignalDeviation { opened_at: at, view, severity, confidence });
        }
        self.deviation = self
            .deviation
            .filter(|_| severity > 0.0)
            .map(|deviation| SignalDeviation { severity: severity.clamp(0.0, 1.0), ..deviation });
    }
}

impl From<View> for SignalView {
    fn from(view: View) -> Self {
        match view {
            View::Value => Self::Value,
            View::ShortMean => Self::ShortMean,
            View::LongMean => Self::LongMean,
            View::Spread => Self::Spread,
            View::Season => Self::Season,
            View::Level => Self::Level,
        }
    }
}

impl Stored for Engine {
    fn save(&self, writer: &mut Writer) {
        let Self { thresholds, series, deviation } = self;
        writer.put(thresholds).put(series).put(&deviation.is_some());
        if let Some(SignalDeviation { opened_at, view, severity, confidence }) = deviation {
            writer.put(opened_at).text(view.as_str()).put(severity).put(confidence);
        }
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (thresholds, series) = (reader.get()?, reader.get()?);
        let deviation = if reader.get()? {
            let (opened_at, view) = (reader.get()?, reader.parse()?);
            Some(SignalDeviation { opened_at, view, severity: reader.get()?, confidence: reader.get()? })
        } else {
            None
        };
        Ok(Self { thresholds, series, deviation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::generate::{Family, Generator};

    fn observed(engine: &mut Engine, at: Timestamp, value: f64) -> Verdict {
        engine.observe(at, Reading { value, quality: Quality::Good, kind: SignalKind::Gauge })
    }

    #[test]
    fn an_alert_is_remembered_with_its_view_until_it_has_faded() {
        let mut engine = Engine::new(SeriesSettings::default());
        let mut generator = Generator::new(Family::Gaussian, 60.0, 5);
        for (at, value) in generator.by_ref().take(2_000) {
            observed(&mut engine, at, value);
        }
        let (at, value) = generator.next().unwrap();
        let verdict = observed(&mut engine, at, value + 1_000.0);
        assert_eq!(verdict.astray(value + 1_000.0), Some(true));
        assert_eq!(engine.deviation().map(|deviation| deviation.opened_at), Some(at));
        assert!(engine.deviation().unwrap().confidence > 0.5);
        for (at, value) in generator.by_ref().take(500) {
            observed(&mut engine, at, value);
        }
        assert_eq!(engine.deviation(), None);
    }

    #[test]
    fn partial_values_teach_the_detectors_nothing() {
        let mut engine = Engine::new(SeriesSettings::default());
        let before = engine.clone();
        let partial = Reading { value: 1.0, quality: Quality::Partial, kind: SignalKind::Gauge };
        assert_eq!(engine.observe(Timestamp::UNIX_EPOCH, partial).judgement, None);
        assert_eq!(engine, before);
    }

    #[test]
    fn the_season_moves_the_thresholds_with_the_hour() {
        let mut engine = Engine::new(SeriesSettings::default());
        let mut last = Timestamp::UNIX_EPOCH;
        for (at, value) in Generator::new(Family::Seasonal, 300.0, 3).take(6_000) {
            observed(&mut engine, at, value);
            last = at;
        }
        let expected = |hours: i64| {
            let at = last + jiff::SignedDuration::from_hours(hours);
            engine.band(Some(at), SignalKind::Gauge).expected.unwrap()
        };
        let day: Vec<_> = (0..24).map(expected).collect();
        let spread =
            day.iter().copied().fold(f64::MIN, f64::max) - day.iter().copied().fold(f64::MAX, f64::min);
        let scale = engine.thresholds.scale(SignalKind::Gauge).unwrap();
        assert!(spread > 2.0 * scale, "{spread} {scale}");
    }
}
