//! `score nab`: reads the corpus, its labels and the results, and prints what NAB says of them.

use crate::{
    cli::offline::NabArgs,
    commands::offline::Usage,
    offline::{files, results::Results, rows::Rows, times},
    output::{self, table},
    score::nab::{self, Judged, Outcome, PROFILES},
};
use anyhow::Context as _;
use chassis::exit;
use jiff::Timestamp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Where the labels stand: as in our folders, and as in the benchmark's own repository.
const LABELS: [&str; 3] = ["windows.json", "combined_windows.json", "labels/combined_windows.json"];

#[derive(Debug, Serialize)]
struct Report {
    files: usize,
    windows: usize,
    profiles: Vec<ProfileReport>,
    folds: Vec<Fold>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

/// One profile: the best threshold of the whole corpus, and exactly the rows with `deviation` 1.
#[derive(Debug, Serialize)]
struct ProfileReport {
    profile: &'static str,
    best: Figures,
    fixed: Figures,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// 0 for silence, 100 for perfection; none without windows.
    score: Option<f64>,
    threshold: Option<f64>,
    found: usize,
    windows: usize,
    false_rows: usize,
    raw: f64,
}

/// Every second file by path, so that constants chosen on one half can be checked on the other.
#[derive(Debug, Serialize)]
struct Fold {
    fold: &'static str,
    files: usize,
    windows: usize,
    profiles: Vec<FoldProfile>,
}

#[derive(Debug, Serialize)]
struct FoldProfile {
    profile: &'static str,
    /// Threshold chosen on these files.
    best: Figures,
    /// Threshold chosen on the other half.
    carried_over: Figures,
    fixed: Figures,
}

/// One file under the standard profile.
#[derive(Debug, Serialize)]
struct Detail {
    file: String,
    rows: usize,
    windows: usize,
    best: Figures,
    fixed: Figures,
    /// For each window whether the best threshold and the file's own alerts find it.
    found: Vec<(bool, bool)>,
}

pub(super) fn run(args: &NabArgs) -> anyhow::Result<u8> {
    let labels = read_labels(&args.data)?;
    check_profiles(&args.data)?;
    let wanted = wanted(args, &labels)?;
    let files: Vec<Judged> = wanted
        .iter()
        .map(|name| read(args, name, &labels[name]).with_context(|| format!("cannot score {name}")))
        .collect::<anyhow::Result<_>>()?;
    let report = report(&files, args.details);
    output::print(args.output.output, &report, show)?;
    Ok(exit::DONE)
}

fn read_labels(data: &Path) -> anyhow::Result<BTreeMap<String, Vec<(String, String)>>> {
    let path = LABELS
        .iter()
        .map(|name| data.join(name))
        .find(|path| path.exists())
        .with_context(|| format!("there is no windows.json in {}", data.display()))?;
    let text = files::text(&path)?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no windows", path.display()))
}

/// The profiles beside the data must be those that this scorer knows: it would say something else than is meant.
fn check_profiles(data: &Path) -> anyhow::Result<()> {
    let path = data.join("profiles.json");
    if !path.exists() {
        return Ok(());
    }
    let stated: serde_json::Value = serde_json::from_str(&files::text(&path)?)
        .with_context(|| format!("{} holds no profiles", path.display()))?;
    for profile in &PROFILES {
        let costs = &stated[profile.name]["CostMatrix"];
        let same = |name: &str, weight: f64| costs[name].as_f64() == Some(weight);
        anyhow::ensure!(
            same("tpWeight", profile.true_positive)
                && same("fnWeight", profile.false_negative)
                && same("fpWeight", profile.false_positive),
            "{} has other weights for {} than NAB 1.1: {profile:?} is what is scored",
            path.display(),
            profile.name,
        );
    }
    Ok(())
}

/// All labelled files, or those of `--files`, by path.
fn wanted<T>(args: &NabArgs, labels: &BTreeMap<String, T>) -> anyhow::Result<BTreeSet<String>> {
    let Some(list) = &args.files else { return Ok(labels.keys().cloned().collect()) };
    let text = if Path::new(list).is_file() { files::text(Path::new(list))? } else { list.clone() };
    let names: BTreeSet<String> =
        text.split(['\n', ',']).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    match names.iter().find(|name| !labels.contains_key(*name)) {
        Some(unknown) => {
            Err(Usage(format!("--files names {unknown}, which has no entry in windows.json")).into())
        }
        None => Ok(names),
    }
}

fn read(args: &NabArgs, name: &str, spans: &[(String, String)]) -> anyhow::Result<Judged> {
    let data =
        [args.data.join(name), args.data.join("data").join(name)].into_iter().find(|path| path.exists());
    let data = data.with_context(|| format!("{} is not there", args.data.join(name).display()))?;
    let times = read_times(&data)?;
    let result = result_path(&args.results, name)
        .with_context(|| format!("there is no result for it in {}", args.results.display()))?;
    let results = Results::read(&result)?;
    anyhow::ensure!(
        results.times.len() == times.len(),
        "{} has {} rows and {} has {}: every row must stay in the result",
        data.display(),
        times.len(),
        result.display(),
        results.times.len(),
    );
    if let Some(row) = (0..times.len()).find(|row| times[*row] != results.times[*row]) {
        anyhow::bail!("row {} of {} has another time than in the data", row + 1, result.display());
    }
    let spans: Vec<_> = spans.iter().map(|(start, end)| (times::parse(start), times::parse(end))).collect();
    let windows = nab::locate(&times, &spans).map_err(|(start, end)| {
        anyhow::anyhow!("no rows have the times of the window {start:?} to {end:?}")
    })?;
    Ok(Judged { name: name.to_owned(), scores: results.scores, alerts: results.alerts, windows })
}

fn read_times(path: &Path) -> anyhow::Result<Vec<Option<Timestamp>>> {
    let rows = Rows::open(files::open(path)?, None)?;
    rows.map(|row| Ok(times::parse(&row?.timestamp))).collect()
}

/// The result under the file's path, or under its name alone.
fn result_path(results: &Path, name: &str) -> Option<PathBuf> {
    let base = Path::new(name).file_name()?;
    [results.join(name), results.join(base)].into_iter().find(|path| path.exists())
}

fn report(files: &[Judged], details: bool) -> Report {
    let (best, fixed) = (nab::best(files), nab::fixed(files));
    let profile = |k: usize| ProfileReport {
        profile: PROFILES[k].name,
        best: figures(best[k]),
        fixed: figures(fixed[k]),
    };
    let threshold = best[0].threshold.unwrap_or(nab::NOTHING);
    Report {
        files: files.len(),
        windows: best[0].windows,
        profiles: (0..PROFILES.len()).map(profile).collect(),
        folds: folds(files),
        details: if details {
            files.iter().map(|file| detail(file, threshold)).collect()
        } else {
            Vec::new()
        },
    }
}

fn folds(files: &[Judged]) -> Vec<Fold> {
    let part = |rest: usize| -> Vec<Judged> {
        files.iter().enumerate().filter(|(k, _)| k % 2 == rest).map(|(_, file)| file.clone()).collect()
    };
    let parts = [part(0), part(1)];
    if parts.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let best = [nab::best(&parts[0]), nab::best(&parts[1])];
    let fold = |me: usize| {
        let fixed = nab::fixed(&parts[me]);
        let profile = |k: usize| FoldProfile {
            profile: PROFILES[k].name,
            best: figures(best[me][k]),
            carried_over: figures(nab::at(&parts[me], best[1 - me][k].threshold.unwrap_or(nab::NOTHING))[k]),
            fixed: figures(fixed[k]),
        };
        Fold {
            fold: ["even", "odd"][me],
            files: parts[me].len(),
            windows: fixed[0].windows,
            profiles: (0..PROFILES.len()).map(profile).collect(),
        }
    };
    vec![fold(0), fold(1)]
}

fn detail(file: &Judged, threshold: f64) -> Detail {
    let alone = std::slice::from_ref(file);
    Detail {
        file: file.name.clone(),
        rows: file.scores.len(),
        windows: file.windows.len(),
        best: figures(nab::at(alone, threshold)[0]),
        fixed: figures(nab::fixed(alone)[0]),
        found: file.found(Some(threshold)).into_iter().zip(file.found(None)).collect(),
    }
}

fn figures(outcome: Outcome) -> Figures {
    Figures {
        score: outcome.normalised,
        threshold: outcome.threshold,
        found: outcome.found,
        windows: outcome.windows,
        false_rows: outcome.false_rows,
        raw: outcome.raw,
    }
}

fn show(report: &Report) -> String {
    let score =
        |figures: &Figures| figures.score.map_or_else(|| "unknown".to_owned(), |score| format!("{score:.2}"));
    let counts = |f: &Figures| format!("{}/{} found, {} false rows", f.found, f.windows, f.false_rows);
    let profiles = report.profiles.iter().map(|p| {
        let threshold = p.best.threshold.map_or_else(String::new, |t| format!("{t:.6}"));
        [p.profile.to_owned(), score(&p.best), threshold, counts(&p.best), score(&p.fixed), counts(&p.fixed)]
    });
    let mut text = format!("{} files, {} windows\n", report.files, report.windows);
    text += &table(["PROFILE", "BEST", "THRESHOLD", "", "OWN ALERTS", ""], profiles);
    let folds = report.folds.iter().flat_map(|fold| {
        fold.profiles.iter().map(move |p| {
            let name = format!("{} ({} files, {} windows)", fold.fold, fold.files, fold.windows);
            [name, p.profile.to_owned(), score(&p.best), score(&p.carried_over), score(&p.fixed)]
        })
    });
    text += "\n\n";
    text += &table(["FOLD", "PROFILE", "BEST", "THRESHOLD OF THE OTHER", "OWN ALERTS"], folds);
    if !report.details.is_empty() {
        let details = report.details.iter().map(|d| {
            let part = |f: &Figures| {
                [format!("{:+.2}", f.raw), format!("{}/{}", f.found, f.windows), f.false_rows.to_string()]
            };
            let ([a, b, c], [d1, e, f]) = (part(&d.best), part(&d.fixed));
            [d.file.clone(), d.rows.to_string(), a, b, c, d1, e, f]
        });
        text += "\n\nStandard profile, at the best threshold and by own alerts:\n";
        text += &table(["FILE", "ROWS", "RAW", "FOUND", "FALSE", "OWN RAW", "FOUND", "FALSE"], details);
    }
    text
}
