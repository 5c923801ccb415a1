//! A cycle as a picture of text: bars from its lowest to its highest point, with what is usual at both, and the clock below.

use crate::output::number;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proto::model::SeasonalPeriod;

/// Columns and lines of a picture: with the scale beside it, less than a terminal of 100 columns.
const WIDTH: usize = 84;
const HEIGHT: usize = 6;
/// Eighths of a line.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Room for the scale.
const SCALE: usize = 10;

/// Draws what is usual over a cycle. Nothing where no shape is told.
pub(super) fn picture(period: &SeasonalPeriod, level: f64, zone: &TimeZone) -> String {
    let columns = columns(&period.shape);
    let (low, high) = columns
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    if columns.is_empty() || low > high {
        return String::new();
    }
    let spread = (high - low).max(f64::MIN_POSITIVE);
    let steps = (HEIGHT * (BARS.len() - 1)) as f64;
    // The lowest point is a line, not nothing.
    let tall: Vec<usize> =
        columns.iter().map(|value| 1 + ((value - low) / spread * (steps - 1.0)).round() as usize).collect();
    let mut lines = String::new();
    for line in (0..HEIGHT).rev() {
        let scale = match line {
            0 => number(Some(level + low)),
            line if line + 1 == HEIGHT => number(Some(level + high)),
            _ => String::new(),
        };
        let full = BARS.len() - 1;
        let bars: String = tall.iter().map(|tall| BARS[tall.saturating_sub(line * full).min(full)]).collect();
        lines.push_str(format!("{scale:>SCALE$} {bars}").trim_end());
        lines.push('\n');
    }
    lines.push_str(format!("{:SCALE$} {}", "", axis(period, columns.len(), zone)).trim_end());
    lines.push('\n');
    lines
}

/// As many columns as fit: each the mean of its points, or each point several times.
fn columns(shape: &[f32]) -> Vec<f64> {
    if shape.is_empty() {
        return Vec::new();
    }
    let per_point = (WIDTH / shape.len()).max(1);
    let width = (shape.len() * per_point).min(WIDTH);
    let column = |column: usize| {
        let from = column * shape.len() / width;
        let to = ((column + 1) * shape.len()).div_ceil(width).clamp(from + 1, shape.len());
        let part = if per_point > 1 { &shape[from..=from] } else { &shape[from..to] };
        part.iter().map(|point| f64::from(*point)).sum::<f64>() / part.len() as f64
    };
    (0..width).map(column).collect()
}

/// Days of a week, hours of a day, or how much of the cycle has passed.
fn axis(period: &SeasonalPeriod, width: usize, zone: &TimeZone) -> String {
    let (parts, format) = match period.length_s {
        604_800.0 => (7, "%a"),
        86_400.0 => (4, "%H:%M"),
        length_s if length_s >= 3_600.0 => (4, "%a %H:%M"),
        _ => (4, "%M:%S"),
    };
    let mut axis = String::new();
    for part in 0..parts {
        let passed = SignedDuration::from_secs_f64(period.length_s * part as f64 / parts as f64);
        let at: Timestamp = period.starts_at.saturating_add(passed).unwrap_or(period.starts_at);
        let column = part * width / parts;
        let text = zone.to_datetime(at).strftime(format).to_string();
        while axis.chars().count() < column {
            axis.push(' ');
        }
        axis.push_str(&text);
    }
    axis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(length_s: f64, shape: Vec<f32>) -> String {
        let period = SeasonalPeriod {
            length_s,
            strength: 0.5,
            chance: 0.0,
            autocorrelation: 0.5,
            cycles: 5.0,
            starts_at: "2024-01-01T00:00:00Z".parse().unwrap(),
            shape,
        };
        picture(&period, 100.0, &TimeZone::UTC)
    }

    #[test]
    fn the_highest_bar_stands_where_the_peak_is() {
        let text = drawn(86_400.0, (0..24).map(|hour| if hour == 6 { 10.0 } else { 0.0 }).collect());
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let peak = lines[0].iter().rposition(|bar| *bar == '█').unwrap();
        let label: usize = text.lines().last().unwrap().find("06:00").unwrap();
        assert!((label..label + 3).contains(&peak), "{text}");
        assert!(lines[0].iter().take(SCALE).collect::<String>().trim() == "110", "{text}");
    }

    #[test]
    fn any_shape_fits_and_none_is_no_picture() {
        for points in [1, 2, 5, 24, 45, 83, 84, 85, 168, 200] {
            let text = drawn(604_800.0, (0..points).map(|i| i as f32).collect());
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= SCALE + 1 + WIDTH, "{points}: {widest}\n{text}");
            assert_eq!(text.lines().count(), HEIGHT + 1);
        }
        assert_eq!(drawn(86_400.0, Vec::new()), "");
        assert!(drawn(86_400.0, vec![3.0; 24]).contains('▁'));
    }
}
