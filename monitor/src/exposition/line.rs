//! One sample line: `name{label="value",...} value [timestamp] [# exemplar]`.

use std::borrow::Cow;

use super::{Format, Label, Limits, Reject, Series};

/// Reads a line that is neither empty nor a comment.
pub(super) fn read<'a>(line: &'a str, format: Format, limits: &Limits) -> Result<Series<'a>, Reject> {
    let mut cursor = Cursor { rest: line };
    let mut name = Cow::Borrowed(cursor.take_while(is_name_byte));
    let mut labels = Vec::new();
    let blanks = cursor.skip_blanks();
    if cursor.eat('{') {
        label_set(&mut cursor, &mut name, &mut labels, limits)?;
        cursor.skip_blanks();
    } else if blanks == 0 {
        return Err(Reject::Name);
    }
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return Err(Reject::Name);
    }
    if name.len() > limits.label_bytes {
        return Err(Reject::LabelTooLong);
    }
    let value = number(cursor.token()).ok_or(Reject::Value)?;
    let timestamp_ms = match cursor.token_unless_exemplar() {
        Some(token) => Some(timestamp_ms(token, format).ok_or(Reject::Timestamp)?),
        None => None,
    };
    if !cursor.rest.is_empty() && !cursor.rest.starts_with('#') {
        return Err(Reject::TrailingText);
    }
    Ok(Series { name, labels, value, timestamp_ms })
}

/// Whether `name` is a metric name that needs no quotes.
pub(super) fn is_metric_name(name: &str) -> bool {
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(is_name_byte)
}

/// `text` with `\\`, `\"` and `\n` resolved; borrowed when there is nothing to resolve.
pub(super) fn unescape(text: &str) -> Result<Cow<'_, str>, Reject> {
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        out.push(match chars.next() {
            Some('n') => '\n',
            Some('\\') => '\\',
            Some('"') => '"',
            _ => return Err(Reject::Escape),
        });
    }
    Ok(Cow::Owned(out))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

/// Reads up to and with the closing brace. A quoted string without `=` is the metric's name.
fn label_set<'a>(
    cursor: &mut Cursor<'a>,
    metric: &mut Cow<'a, str>,
    labels: &mut Vec<Label<'a>>,
    limits: &Limits,
) -> Result<(), Reject> {
    loop {
        cursor.skip_blanks();
        if cursor.eat('}') {
            break;
        }
        let quoted = cursor.rest.starts_with('"');
        let name = if quoted { cursor.quoted()? } else { Cow::Borrowed(cursor.label_name()?) };
        cursor.skip_blanks();
        if cursor.eat('=') {
            cursor.skip_blanks();
            let value = cursor.quoted()?;
            if name.len().max(value.len()) > limits.label_bytes {
                return Err(Reject::LabelTooLong);
            }
            if labels.len() >= limits.labels {
                return Err(Reject::TooManyLabels);
            }
            labels.push((name, value));
        } else if quoted && metric.is_empty() && labels.is_empty() {
            *metric = name;
        } else {
            return Err(Reject::Labels);
        }
        cursor.skip_blanks();
        if !cursor.eat(',') && !cursor.rest.starts_with('}') {
            return Err(Reject::Labels);
        }
    }
    labels.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Reject::LabelRepeated);
    }
    labels.retain(|(_, value)| !value.is_empty());
    Ok(())
}

/// A float as both formats write it; `None` for an empty token or anything else.
fn number(token: &str) -> Option<f64> {
    token.parse().ok()
}

fn timestamp_ms(token: &str, format: Format) -> Option<i64> {
    match format {
        Format::Text => token.parse().ok(),
        Format::OpenMetrics => {
            let milliseconds = number(token)? * 1_000.0;
            // Beyond 2^53 a float skips whole milliseconds; that is 285,000 years away.
            (milliseconds.abs() < 9_007_199_254_740_992.0).then(|| milliseconds.round() as i64)
        }
    }
}

#[derive(Debug)]
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// How many blanks there were.
    fn skip_blanks(&mut self) -> usize {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        let skipped = self.rest.len() - rest.len();
        self.rest = rest;
        skipped
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|byte| !accept(byte)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// `end` must be a character boundary, which it is: only ASCII bytes end a token.
    fn take(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn label_name(&mut self) -> Result<&'a str, Reject> {
        let name = self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() { Err(Reject::Labels) } else { Ok(name) }
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Reject> {
        if !self.eat('"') {
            return Err(Reject::Labels);
        }
        let mut escaped = false;
        let end = self.rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let text = self.take(end.ok_or(Reject::Labels)?);
        self.eat('"');
        unescape(text)
    }

    /// The text up to the next blank, with the blanks after it skipped.
    fn token(&mut self) -> &'a str {
        let token = self.take_while(|byte| byte != b' ' && byte != b'\t');
        self.skip_blanks();
        token
    }

    fn token_unless_exemplar(&mut self) -> Option<&'a str> {
        (!self.rest.is_empty() && !self.rest.starts_with('#')).then(|| self.token())
    }
}
