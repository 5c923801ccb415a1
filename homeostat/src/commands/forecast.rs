//! `forecast`: quantiles of what a series in a file will do next.

use super::{detect::write, offline::Usage};
use crate::{
    cli::offline::ForecastArgs,
    forecast::{self, Answer, Question, STEP_MAX, STEP_MIN, STEPS_MAX, page},
    offline::{files, rows::Rows},
    output::{self, Format, number, table},
};
use anyhow::Context as _;
use chassis::exit;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// `homeostat forecast`.
///
/// # Errors
/// When the file cannot be read or holds no usable row, or the question cannot be asked.
pub fn forecast(args: &ForecastArgs) -> anyhow::Result<u8> {
    let zone = args.zone.as_deref().map(zone).transpose()?;
    if let Some(step) = args.step {
        check(step, args.horizon)?;
    }
    let samples = samples(args).with_context(|| format!("cannot forecast {}", args.input.display()))?;
    let step = match args.step {
        Some(step) => step,
        None => forecast::interval(&samples).unwrap_or(Duration::from_secs(60)).clamp(STEP_MIN, STEP_MAX),
    };
    check(step, args.horizon)?;
    let question = Question { horizon: args.horizon, step, quantiles: args.quantiles.clone(), zone };
    let answer = forecast::forecast(&samples, &question).with_context(|| {
        format!("no row of {} has a time and a number; see `homeostat forecast --help`", args.input.display())
    })?;
    if let Some(path) = &args.html {
        let text = page::page(&args.input.display().to_string(), &samples, &answer);
        write(path, |file| Ok(file.write_all(text.as_bytes())?))?;
    }
    let piped = if std::io::stdout().is_terminal() { Format::Table } else { Format::Json };
    output::print(args.output.unwrap_or(piped), &answer, show)?;
    Ok(exit::DONE)
}

fn zone(name: &str) -> anyhow::Result<TimeZone> {
    TimeZone::get(name).map_err(|error| Usage(format!("--zone {name:?}: {error}")).into())
}

fn check(step: Duration, horizon: Duration) -> Result<(), Usage> {
    if !(STEP_MIN..=STEP_MAX).contains(&step) {
        return Err(Usage(format!(
            "--step must lie between 1s and 12h, not {}",
            humantime::format_duration(step)
        )));
    }
    let steps = forecast::steps(horizon, step);
    if horizon < step || steps > STEPS_MAX {
        return Err(Usage(format!(
            "--horizon must reach 1 to {STEPS_MAX} steps of {}, not {}",
            humantime::format_duration(step),
            humantime::format_duration(horizon)
        )));
    }
    Ok(())
}

/// The usable rows; the others are told on standard error.
fn samples(args: &ForecastArgs) -> anyhow::Result<Vec<(Timestamp, f64)>> {
    let mut samples: Vec<(Timestamp, f64)> = Vec::new();
    let mut refused = 0u64;
    for row in Rows::open(files::open(&args.input)?, args.column.as_deref())? {
        let row = row?;
        match row.sample {
            Ok((at, value)) if samples.last().is_none_or(|(last, _)| at > *last) => samples.push((at, value)),
            _ => {
                refused += 1;
                if refused == 1 {
                    let rule = row.sample.err().unwrap_or(crate::offline::rows::Refusal::NotLater).rule();
                    eprintln!("homeostat: {} line {}: {rule}", args.input.display(), row.line);
                }
            }
        }
    }
    if refused > 1 {
        eprintln!("homeostat: {}: {} more rows were refused", args.input.display(), refused - 1);
    }
    Ok(samples)
}

fn show(answer: &Answer) -> String {
    let mut text = format!("from {}, steps of {} s\n", answer.origin, answer.step_s);
    let names: Vec<String> = answer.quantiles.iter().map(|quantile| format!("q{quantile}")).collect();
    let rows = answer.values.iter().enumerate().map(|(step, row)| {
        let ahead = SignedDuration::from_secs(answer.step_s as i64 * (step as i64 + 1));
        let at = answer.origin.checked_add(ahead).map_or_else(|_| String::new(), |at| at.to_string());
        let values: Vec<String> =
            names.iter().zip(row).map(|(name, value)| format!("{name} {}", number(Some(*value)))).collect();
        [at, values.join("   ")]
    });
    text += &table(["TIME", "QUANTILES"], rows);
    text
}
