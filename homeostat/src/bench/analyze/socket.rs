//! The same million against the service as it ships: Knowledge with its Postgres holds the blocks, Analyze is a process of its own that
//! restores them, and samples come over gRPC on two streams as Monitor sends them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use chassis::{ClientConfig, Context, ServerConfig};
use jiff::Timestamp;
use knowledge::Handle;
use proto::{
    client::{Analyze, Knowledge},
    wire,
};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    million::{Load, Seen},
    plant::{INTERVAL, Parcel, Plant, half},
    usage::{cpu_seconds, resident_bytes},
    world::{Templates, numbers},
};
use crate::bench::Figure;

/// Analyze restores 50,000 signals a second; this is for ten times slower machines.
const RESTORE_DEADLINE: Duration = Duration::from_secs(240);
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Batches that a stream has under way, as Monitor's default.
const WINDOW: usize = 16;
/// Bytes of blocks in one request: half of what a message may have.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Analyze in a process of its own.
#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

/// Saves the blocks, starts Analyze, sends.
pub(super) async fn over_socket(
    templates: &Templates,
    load: Load,
    dir: &Path,
    ctx: &Context,
) -> anyhow::Result<Vec<Figure>> {
    let dir = dir.join("analyze");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let ctx = Context { metrics: prometheus::Registry::default(), ..ctx.sub() };
    let config = knowledge::Config {
        server: ServerConfig::loopback(0),
        data_dir: dir.join("control"),
        ..knowledge::Config::default()
    };
    let Handle { addr, .. } =
        knowledge::start(config, ctx.clone()).await.context("cannot start knowledge")?;
    let knowledge = ClientConfig::plain(addr);
    let plant = templates.plant(load.signals)?;
    let bytes = fill(&Knowledge::new(chassis::grpc::channel(&knowledge)?), templates, &plant).await?;
    eprintln!("homeostat:   Knowledge holds {bytes} bytes of {} signals", load.signals);

    let began = ctx.clock.monotonic();
    let mut process = Process::start(&dir, &knowledge.url, load.arrivals / 2)?;
    let addr = process.restored(&ctx).await?;
    eprintln!("homeostat:   Analyze restored them in {:.0} s", (ctx.clock.monotonic() - began).as_secs_f64());
    let measured = measure(&process, &addr, templates, &plant, load, &ctx).await;
    process.stop().await;
    ctx.stopper.stop();
    ctx.tasks.join(STOP_DEADLINE).await;
    measured
}

/// Saves every block under the keys of the service.
async fn fill(knowledge: &Knowledge, templates: &Templates, plant: &Plant) -> anyhow::Result<usize> {
    let (mut waiting, mut waiting_bytes, mut bytes) = (Vec::new(), 0, 0);
    for shard in numbers() {
        for block in templates.blocks(plant, shard) {
            let analyze::snapshot::Block { number, body } = block?;
            if waiting_bytes + body.len() > REQUEST_BYTES && !waiting.is_empty() {
                knowledge.save_snapshots(std::mem::take(&mut waiting)).await?;
                waiting_bytes = 0;
            }
            (bytes, waiting_bytes) = (bytes + body.len(), waiting_bytes + body.len());
            waiting.push(wire::Snapshot {
                key: format!("analyze/{}/{number}", shard.number()),
                format: analyze::snapshot::FORMAT,
                body,
                at_unix_ms: templates.end.as_millisecond(),
            });
        }
    }
    knowledge.save_snapshots(waiting).await?;
    Ok(bytes)
}

impl Process {
    fn start(dir: &Path, knowledge: &str, snapshots: Duration) -> anyhow::Result<Self> {
        let log = dir.join("analyze.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args(["analyze", "--log-json", "--set", "server.listen=127.0.0.1:0"]);
        command.args(["--set", &format!("knowledge.url={knowledge}")]);
        command.args(["--set", &format!("snapshot_interval={}s", snapshots.as_secs().max(1))]);
        for variable in crate::cli::GLOBAL_VARIABLES {
            command.env_remove(variable);
        }
        let output = output.try_clone().map(|copy| (copy, output)).context("cannot share the log")?;
        let child = command.stdin(Stdio::null()).stdout(output.0).stderr(output.1).kill_on_drop(true).spawn();
        Ok(Self { child: child.context("cannot start analyze")?, log })
    }

    /// Waits until it has taken over all that was saved; gives its address.
    async fn restored(&mut self, ctx: &Context) -> anyhow::Result<String> {
        let deadline = ctx.clock.monotonic() + RESTORE_DEADLINE;
        loop {
            let log = std::fs::read_to_string(&self.log)?;
            let told = |message: &str| {
                let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                lines.into_iter().find(|line| line["message"] == message)
            };
            if let (Some(up), Some(_)) = (told("up"), told("follows Knowledge")) {
                return Ok(up["addr"].as_str().context("analyze did not tell its address")?.to_owned());
            }
            let log = self.log.display();
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("analyze ended with {status}; its log is {log}");
            }
            anyhow::ensure!(ctx.clock.monotonic() < deadline, "analyze restored nothing; its log is {log}");
            anyhow::ensure!(!ctx.stopper.is_stopped(), "stopped");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn number(&self) -> anyhow::Result<String> {
        Ok(self.child.id().context("analyze has ended")?.to_string())
    }

    async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may be gone already.
            _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        if tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

async fn measure(
    process: &Process,
    addr: &str,
    templates: &Templates,
    plant: &Plant,
    load: Load,
    ctx: &Context,
) -> anyhow::Result<Vec<Figure>> {
    let number = process.number()?;
    let client = || anyhow::Ok(Analyze::new(chassis::grpc::channel(&ClientConfig::plain(addr.parse()?))?));
    let (mut first, mut second) =
        tokio::try_join!(Link::open(client()?, plant, 0), Link::open(client()?, plant, 1))?;
    tokio::try_join!(first.introduce(ctx), second.introduce(ctx))?;
    let listed = client()?.list_signals("", "", 1_000).await?.signals;
    let learned = listed.iter().map(|signal| signal.samples).min().unwrap_or(0);
    anyhow::ensure!(
        learned + 1_000 > u64::from(templates.ticks) / 2,
        "a signal has only {learned} samples behind it"
    );
    let before = cpu_seconds(&number)?;
    let watch = async {
        let (mut peak, until) = (0, ctx.clock.monotonic() + load.arrivals);
        while ctx.clock.monotonic() < until {
            peak = peak.max(resident_bytes(&number)?);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        anyhow::Ok(peak)
    };
    let (one, other, peak) = tokio::try_join!(first.arrivals(load, ctx), second.arrivals(load, ctx), watch)?;
    let mut seen = Seen::new()?;
    seen.add(one)?;
    seen.add(other)?;
    seen.cpu = Duration::from_secs_f64(cpu_seconds(&number)? - before);
    eprintln!("homeostat:   lag at most {:.3} s, {} rows refused", seen.lag.max() as f64 / 1e6, seen.refused);
    let mut figures = seen.figures(load, "_by_grpc");
    let gib = peak as f64 / f64::from(1 << 30);
    figures.push(Figure::at_most("million_signals_memory_by_grpc", gib, "GiB", 6.0));
    Ok(figures)
}

/// One stream of samples, with a window of batches that are not acknowledged.
struct Link<'a> {
    plant: &'a Plant,
    parcels: Vec<Parcel>,
    batches: tokio::sync::mpsc::Sender<wire::SampleBatch>,
    answers: tonic::Streaming<wire::IngestAck>,
    sequence: u64,
    under_way: std::collections::VecDeque<(u64, Duration, usize)>,
}

impl<'a> Link<'a> {
    async fn open(client: Analyze, plant: &'a Plant, of: usize) -> anyhow::Result<Self> {
        let (batches, receiver) = tokio::sync::mpsc::channel(WINDOW);
        let answers = client.raw().ingest(ReceiverStream::new(receiver)).await?.into_inner();
        let parcels = plant.parcels().into_iter().filter(|parcel| half(parcel.shard) == of).collect();
        Ok(Self { plant, parcels, batches, answers, sequence: 0, under_way: Default::default() })
    }

    /// A first tick that names all signals.
    async fn introduce(&mut self, ctx: &Context) -> anyhow::Result<()> {
        let (mut seen, now) = (Seen::new()?, ctx.clock.now());
        for parcel in 0..self.parcels.len() {
            self.send(parcel, now, true, ctx.clock.monotonic()).await?;
            self.take(WINDOW - 1, &mut seen, ctx).await?;
        }
        self.take(0, &mut seen, ctx).await?;
        anyhow::ensure!(seen.refused == 0, "{} rows were refused when they were introduced", seen.refused);
        Ok(())
    }

    async fn send(
        &mut self,
        parcel: usize,
        at: Timestamp,
        introduce: bool,
        due: Duration,
    ) -> anyhow::Result<()> {
        let batch = self.plant.batch(&self.parcels[parcel], at, introduce)?;
        self.sequence += 1;
        self.under_way.push_back((self.sequence, due, batch.samples.len()));
        let batch = wire::SampleBatch { sequence: self.sequence, ..batch.into() };
        self.batches.send(batch).await.context("analyze closed the stream")
    }

    /// Takes answers until at most so many batches are under way.
    async fn take(&mut self, most: usize, seen: &mut Seen, ctx: &Context) -> anyhow::Result<()> {
        while self.under_way.len() > most {
            let answer = self.answers.message().await?.context("analyze closed the stream")?;
            let (sequence, due, rows) = self.under_way.pop_front().context("an answer to nothing")?;
            anyhow::ensure!(sequence == answer.sequence, "an answer to another batch");
            seen.note(ctx.clock.monotonic().saturating_sub(due), rows as u64, u64::from(answer.refused))?;
        }
        Ok(())
    }

    async fn arrivals(mut self, load: Load, ctx: &Context) -> anyhow::Result<Seen> {
        let (mut seen, parcels) = (Seen::new()?, self.parcels.len());
        // The next sample of a signal comes an interval after the one that introduced it.
        let began = ctx.clock.monotonic() + INTERVAL;
        let start = ctx.clock.now() + INTERVAL;
        for tick in 0..load.ticks() {
            for parcel in 0..parcels {
                let due = INTERVAL * tick + INTERVAL.mul_f64(parcel as f64 / parcels as f64);
                self.wait(began + due, &mut seen, ctx).await?;
                self.take(WINDOW - 1, &mut seen, ctx).await?;
                self.send(parcel, start + INTERVAL * tick, false, began + due).await?;
                anyhow::ensure!(!ctx.stopper.is_stopped(), "stopped");
            }
        }
        self.take(0, &mut seen, ctx).await?;
        Ok(seen)
    }

    /// Until a moment; answers are taken meanwhile.
    async fn wait(&mut self, until: Duration, seen: &mut Seen, ctx: &Context) -> anyhow::Result<()> {
        while let Some(early) = until.checked_sub(ctx.clock.monotonic()) {
            if self.under_way.is_empty() {
                tokio::time::sleep(early).await;
                return Ok(());
            }
            let most = self.under_way.len() - 1;
            // Cancelling between two messages loses none.
            if tokio::time::timeout(early, self.take(most, seen, ctx)).await.is_ok_and(|taken| taken.is_err())
            {
                anyhow::bail!("analyze closed the stream");
            }
        }
        Ok(())
    }
}
