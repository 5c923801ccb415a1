//! What a target exposes, read from Prometheus text 0.0.4 or OpenMetrics 1.0.
//!
//! A malformed line costs that line alone: it is counted with its reason and the rest is kept. A body that ends
//! before its end was announced is *partial*, because a series missing from it may still exist.

mod comment;
mod line;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use crate::tally::Tally;

/// Which grammar the target announced. Both are read by the same code; they differ in the unit of timestamps and in
/// what marks the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text: timestamps in milliseconds, ends where the body ends.
    Text,
    /// OpenMetrics: timestamps in seconds, ends at `# EOF`.
    OpenMetrics,
}

impl Format {
    /// The format a `Content-Type` names; anything unknown or absent is Prometheus text, the older default.
    #[must_use]
    pub fn from_content_type(content_type: Option<&str>) -> Self {
        let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// How much of a body is read. Each limit bounds memory against a target that is broken or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole body; what lies beyond is not read.
    pub body_bytes: usize,
    /// Bytes of one line.
    pub line_bytes: usize,
    /// Series in one body.
    pub series: usize,
    /// Labels of one series.
    pub labels: usize,
    /// Bytes of one metric name, label name or label value.
    pub label_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 50,000 series of 300 bytes each, a generous line, is 15 MB.
            body_bytes: 16 << 20,
            // 32 labels of a 64-byte name and a 128-byte value are 6 KiB; ten times that is no series any more.
            line_bytes: 64 << 10,
            // Five times what a large exporter (kube-state-metrics of a small cluster) has.
            series: 50_000,
            // Kubernetes exporters stay under 20.
            labels: 32,
            // A URL or a query in a label is already a mistake at this length.
            label_bytes: 1024,
        }
    }
}

/// What `# TYPE` says of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows, except at a restart.
    Counter,
    /// Any value.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
    /// Buckets that may shrink.
    GaugeHistogram,
    /// Quantiles computed by the target, a sum and a count.
    Summary,
    /// Constant labels.
    Info,
    /// One gauge per state.
    StateSet,
    /// Not said.
    Unknown,
}

/// What the comments of a body say of one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family<'a> {
    /// Its `# TYPE`, or `Unknown`.
    pub metric_type: MetricType,
    /// Its `# HELP` with escapes resolved, or empty.
    pub help: Cow<'a, str>,
    /// Its `# UNIT`, or empty.
    pub unit: &'a str,
}

/// A label: name and value.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// One series with its value in this body.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<'a> {
    /// The metric's name, with any suffix such as `_bucket`.
    pub name: Cow<'a, str>,
    /// Labels ordered by name, unique, none with an empty value (which means the same as no label).
    pub labels: Vec<Label<'a>>,
    /// The value; NaN and infinities are kept here and judged later.
    pub value: f64,
    /// The target's own time, milliseconds since 1970, where it gave one.
    pub timestamp_ms: Option<i64>,
}

/// A body, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposition<'a> {
    /// What the comments say, by family name.
    pub families: BTreeMap<Cow<'a, str>, Family<'a>>,
    /// Series in the order of the body.
    pub series: Vec<Series<'a>>,
    /// Whether the body's end was seen. If not, a missing series is unknown, not gone.
    pub complete: bool,
    /// Lines that gave nothing, by [`Reject`] name.
    pub rejected: Tally,
}

/// Why a line, or the end of a body, gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// Longer than `line_bytes`.
    LineTooLong,
    /// Not UTF-8.
    Encoding,
    /// The metric's name is missing or has a forbidden character.
    Name,
    /// The label part breaks the grammar.
    Labels,
    /// A label name occurs twice in one series.
    LabelRepeated,
    /// A backslash before a character that needs none.
    Escape,
    /// More than `labels` labels.
    TooManyLabels,
    /// A name or value longer than `label_bytes`.
    LabelTooLong,
    /// No number where the value belongs.
    Value,
    /// No time where the timestamp belongs.
    Timestamp,
    /// Text after the value and timestamp.
    TrailingText,
    /// A `# HELP`, `# TYPE` or `# UNIT` that cannot be read or contradicts an earlier one.
    Comment,
    /// The same series again; the first is kept.
    Duplicate,
    /// Beyond `series`.
    TooManySeries,
    /// The body is longer than `body_bytes`.
    BodyTooLong,
    /// The last line has no line feed, so its number may be cut short.
    Unterminated,
    /// A line after `# EOF`.
    AfterEof,
    /// OpenMetrics without `# EOF`.
    MissingEof,
}

impl Reject {
    /// The name in metrics and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::Encoding => "encoding",
            Self::Name => "name",
            Self::Labels => "labels",
            Self::LabelRepeated => "label_repeated",
            Self::Escape => "escape",
            Self::TooManyLabels => "too_many_labels",
            Self::LabelTooLong => "label_too_long",
            Self::Value => "value",
            Self::Timestamp => "timestamp",
            Self::TrailingText => "trailing_text",
            Self::Comment => "comment",
            Self::Duplicate => "duplicate",
            Self::TooManySeries => "too_many_series",
            Self::BodyTooLong => "body_too_long",
            Self::Unterminated => "unterminated",
            Self::AfterEof => "after_eof",
            Self::MissingEof => "missing_eof",
        }
    }
}

/// OpenMetrics' last line.
const EOF: &[u8] = b"# EOF";

/// Reads a body. Never fails and never panics: what cannot be read is counted in [`Exposition::rejected`].
#[must_use]
pub fn parse<'a>(body: &'a [u8], format: Format, limits: &Limits) -> Exposition<'a> {
    let mut reader = Reader::new(format, limits);
    let (body, too_long) = cut(body, limits.body_bytes);
    let mut rest = body;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (bytes, next) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        reader.line(bytes, end.is_some());
        rest = next;
    }
    reader.finish(too_long)
}

/// The body up to the limit, ended at a whole line, and whether anything was cut.
fn cut(body: &[u8], limit: usize) -> (&[u8], bool) {
    if body.len() <= limit {
        return (body, false);
    }
    let whole_lines = body[..limit].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (&body[..whole_lines], true)
}

#[derive(Debug)]
struct Reader<'a, 'l> {
    format: Format,
    limits: &'l Limits,
    seen: Seen,
    ended: bool,
    cut: bool,
    out: Exposition<'a>,
}

impl<'a, 'l> Reader<'a, 'l> {
    fn new(format: Format, limits: &'l Limits) -> Self {
        let out = Exposition {
            families: BTreeMap::new(),
            series: Vec::new(),
            complete: false,
            rejected: Tally::default(),
        };
        Self { format, limits, seen: Seen::default(), ended: false, cut: false, out }
    }

    fn line(&mut self, bytes: &'a [u8], terminated: bool) {
        if let Err(reject) = self.try_line(bytes, terminated) {
            self.out.rejected.count(reject.name());
        }
    }

    fn try_line(&mut self, bytes: &'a [u8], terminated: bool) -> Result<(), Reject> {
        // The one line that is whole without its line feed.
        if !terminated && bytes != EOF {
            self.cut = true;
            return Err(Reject::Unterminated);
        }
        if bytes.len() > self.limits.line_bytes {
            return Err(Reject::LineTooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Reject::Encoding)?.trim_matches([' ', '\t', '\r']);
        if text.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err(Reject::AfterEof);
        }
        if text.as_bytes() == EOF {
            // In Prometheus text this is a mere comment, but one that only an OpenMetrics writer makes.
            self.ended = self.format == Format::OpenMetrics;
            return Ok(());
        }
        match text.strip_prefix('#') {
            Some(comment) => comment::read(comment, &mut self.out.families, self.limits),
            None => self.keep(line::read(text, self.format, self.limits)?),
        }
    }

    fn keep(&mut self, series: Series<'a>) -> Result<(), Reject> {
        if self.seen.contains(&self.out.series, &series) {
            return Err(Reject::Duplicate);
        }
        if self.out.series.len() >= self.limits.series {
            return Err(Reject::TooManySeries);
        }
        self.seen.insert(self.out.series.len(), &series);
        self.out.series.push(series);
        Ok(())
    }

    fn finish(mut self, too_long: bool) -> Exposition<'a> {
        if too_long {
            self.out.rejected.count(Reject::BodyTooLong.name());
        }
        let missing_eof = self.format == Format::OpenMetrics && !self.ended;
        if missing_eof {
            self.out.rejected.count(Reject::MissingEof.name());
        }
        self.out.complete = !too_long && !missing_eof && !self.cut;
        self.out
    }
}

/// Finds duplicates without copying any series: hashes point into the list of kept series.
#[derive(Debug, Default)]
struct Seen {
    hasher: RandomState,
    by_hash: HashMap<u64, usize>,
}

impl Seen {
    fn contains(&self, kept: &[Series<'_>], series: &Series<'_>) -> bool {
        let mut hash = self.hash(series);
        while let Some(index) = self.by_hash.get(&hash) {
            let other = &kept[*index];
            if other.name == series.name && other.labels == series.labels {
                return true;
            }
            hash = hash.wrapping_add(1);
        }
        false
    }

    fn insert(&mut self, index: usize, series: &Series<'_>) {
        let mut hash = self.hash(series);
        while self.by_hash.contains_key(&hash) {
            hash = hash.wrapping_add(1);
        }
        self.by_hash.insert(hash, index);
    }

    fn hash(&self, series: &Series<'_>) -> u64 {
        self.hasher.hash_one((&series.name, &series.labels))
    }
}
