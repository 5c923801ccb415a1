//! `detect`: judges files with the engine that Analyze runs, several at a time, and writes a CSV and a page for each.

use crate::{
    cli::offline::DetectArgs,
    commands::offline::Usage,
    detect::{self, Tally, multi, page::Course},
    offline::{
        files::{self, Input},
        metrics::Moments,
        progress,
        rows::Rows,
        times,
    },
    output::{self, table},
};
use anyhow::Context as _;
use chassis::exit;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What is said of a file without a single sample.
const NOTHING: &str = "no row could be judged; lines of `timestamp,value` under a header are needed";

/// Labelled spans by the path of their file.
type Labels = BTreeMap<String, Vec<(String, String)>>;

/// One file as the summary shows it.
#[derive(Debug, Serialize)]
struct Done {
    /// Its path below the folder that was given.
    name: PathBuf,
    input: PathBuf,
    output: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<PathBuf>,
    #[serde(flatten)]
    tally: Tally,
    /// What went wrong, when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `homeostat detect`.
///
/// # Errors
/// When the inputs cannot be found or a result would overwrite one; a file that fails is told in the summary.
pub fn detect(args: &DetectArgs) -> anyhow::Result<u8> {
    let mut paths = args.inputs.clone();
    paths.extend(args.multi.clone());
    // Found together, so that a host and a series of one name are refused too.
    let inputs = files::inputs(&paths).map_err(Usage::from_files)?;
    if args.multi.as_ref().is_some_and(|multi| multi.is_dir()) {
        return Err(Usage("--multi takes one file".to_owned()).into());
    }
    let labels = args.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default();
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let done = all(&inputs, args, &labels);
    report(&done, args)
}

/// Judges every file, in as many threads as were asked for; the results stand in the order of the inputs.
fn all(inputs: &[Input], args: &DetectArgs, labels: &Labels) -> Vec<Done> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let jobs = args.jobs.map_or(cores, std::num::NonZeroUsize::get).min(inputs.len());
    let bar = progress::bar(inputs.len(), "detect");
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(inputs.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((number, input)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, inputs.get(n)?)))
                {
                    bar.set_message(input.name.display().to_string());
                    let result = one(input, args, labels);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, done)| done).collect()
}

fn one(input: &Input, args: &DetectArgs, labels: &Labels) -> Done {
    let output = args.out.join(&input.name);
    let page = args.html.then(|| output.with_extension("html"));
    let mut done = Done {
        name: input.name.clone(),
        input: input.path.clone(),
        output,
        page,
        tally: Tally::default(),
        error: None,
    };
    match judge(input, args, labels, &done) {
        Ok(tally) => {
            // A file in which nothing was looked at is not one in which nothing was found.
            done.error = (tally.rows == tally.refused).then(|| NOTHING.to_owned());
            done.tally = tally;
        }
        Err(error) => done.error = Some(format!("{error:#}")),
    }
    done
}

fn judge(input: &Input, args: &DetectArgs, labels: &Labels, done: &Done) -> anyhow::Result<Tally> {
    if let Some(folder) = done.output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let same = |path: &Path| fs::canonicalize(path).ok().filter(|_| path.exists());
    anyhow::ensure!(
        same(&done.output).is_none() || same(&done.output) != same(&input.path),
        "the result would overwrite the input; choose another --out"
    );
    let mut course = Course::new(&input.name.display().to_string());
    course.label(spans(labels, &input.name));
    let many = args.multi.as_ref() == Some(&input.path);
    let mut tally = Tally::default();
    write(&done.output, |file| {
        let see = args.html.then_some(&mut course);
        tally = if many { host(input, args, file, see)? } else { series(input, args, file, see)? };
        Ok(())
    })?;
    if let Some(page) = &done.page {
        let text = course.page(&tally)?;
        write(page, |file| Ok(file.write_all(text.as_bytes())?))?;
    }
    Ok(tally)
}

fn series(
    input: &Input,
    args: &DetectArgs,
    out: &mut File,
    mut see: Option<&mut Course>,
) -> anyhow::Result<Tally> {
    let mut rows = Rows::open(files::open(&input.path)?, args.column.as_deref())?;
    Ok(detect::file(&mut rows, Default::default(), out, |judged| {
        if let Some(course) = &mut see {
            course.push(judged);
        }
    })?)
}

fn host(
    input: &Input,
    args: &DetectArgs,
    out: &mut File,
    mut see: Option<&mut Course>,
) -> anyhow::Result<Tally> {
    let mut moments = Moments::open(files::open(&input.path)?, args.step)?;
    let names = moments.names().to_vec();
    anyhow::ensure!(!names.is_empty(), "there is no column with a metric");
    for label in moments.left_out() {
        eprintln!(
            "homeostat: {}: the column {label:?} is taken for labels and not read",
            input.path.display()
        );
    }
    Ok(multi::file(&mut moments, Default::default(), out, |judged| {
        if let Some(course) = &mut see {
            course.push_host(judged, &names);
        }
    })?)
}

/// Writes a file that appears only when it is whole.
pub(crate) fn write(path: &Path, fill: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
    let filled = fill(&mut file)
        .and_then(|()| fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display())));
    if filled.is_err() {
        // What is left of it would only mislead; that it cannot be removed either changes nothing.
        drop(fs::remove_file(&part));
    }
    filled
}

fn read_labels(path: &Path) -> anyhow::Result<Labels> {
    let text = files::text(path)?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} must hold {{\"path.csv\": [[\"start\", \"end\"]]}}", path.display()))
}

/// The labels of one file, whose path may be longer there than here.
fn spans(labels: &Labels, name: &Path) -> Vec<(f64, f64)> {
    let of_file = labels.iter().find(|(path, _)| Path::new(path).ends_with(name) || name.ends_with(path));
    let second = |text: &str| times::parse(text).map(|at| at.as_microsecond() as f64 / 1e6);
    let spans = of_file.map(|(_, spans)| spans.as_slice()).unwrap_or_default();
    spans.iter().filter_map(|(start, end)| Some((second(start)?, second(end)?))).collect()
}

fn report(done: &[Done], args: &DetectArgs) -> anyhow::Result<u8> {
    output::print(args.output.output, done, show)?;
    for one in done {
        for span in &one.tally.refusals {
            eprintln!("homeostat: {} {span}", one.input.display());
        }
        let unnamed = one.tally.refused - one.tally.refusals.iter().map(|span| span.rows).sum::<u64>();
        if unnamed > 0 {
            eprintln!("homeostat: {}: {unnamed} more rows were refused", one.input.display());
        }
        if let Some(error) = &one.error {
            eprintln!("homeostat: {}: {error}", one.input.display());
        }
    }
    let failed = done.iter().any(|one| one.error.is_some());
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

fn show(done: &[Done]) -> String {
    let rows = done.iter().map(|one| {
        let Tally { rows, refused, alerts, highest_score, from, to, .. } = &one.tally;
        let day = |at: &Option<jiff::Timestamp>| {
            at.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string())
        };
        [
            one.name.display().to_string(),
            rows.to_string(),
            refused.to_string(),
            alerts.to_string(),
            format!("{highest_score:.3}"),
            day(from),
            day(to),
            one.error.clone().unwrap_or_default(),
        ]
    });
    table(["FILE", "ROWS", "REFUSED", "ALERTS", "HIGHEST", "FROM", "TO", ""], rows)
}
