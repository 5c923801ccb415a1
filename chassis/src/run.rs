//! One frame for every process: runtime, telemetry, signals, drain, exit code.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{ConfigError, Invalid};
use crate::context::Context;
use crate::status::chain;
use crate::stopper::Stopper;
use crate::telemetry::{self, LogFormat, TelemetryConfig};

/// Exit codes, the same for every command.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// It failed.
    pub const FAILED: u8 = 1;
    /// It worked, and the result is negative: a check that did not pass.
    pub const NEGATIVE: u8 = 2;
    /// Wrong usage or configuration.
    pub const USAGE: u8 = 64;
}

/// How long a stopping process waits for its tasks: servers drain for 5 s, then stores close.
/// Kubernetes kills after 30 s and systemd after 90 s, so this ends well before either.
pub const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// What a successful run may end with: nothing, or one of the codes in [`exit`].
pub trait Outcome {
    /// The exit code.
    fn code(self) -> u8;
}

impl Outcome for () {
    fn code(self) -> u8 {
        exit::DONE
    }
}

impl Outcome for u8 {
    fn code(self) -> u8 {
        self
    }
}

/// Runs `work` in a runtime until it returns; then stops and joins its tasks. SIGTERM or SIGINT stops `ctx.stopper`, which
/// `work` should watch: a service starts its parts and then awaits `ctx.stopper.stopped()`. A second signal ends at once.
pub fn run<F, W, T>(telemetry: &TelemetryConfig, work: F) -> ExitCode
where
    F: FnOnce(Context) -> W,
    W: Future<Output = anyhow::Result<T>>,
    T: Outcome,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(telemetry.log_format, &anyhow::Error::new(error).context("cannot start"));
        }
    };
    let entered = runtime.enter();
    let guard = match telemetry::init(telemetry) {
        Ok(guard) => guard,
        Err(error) => return report(telemetry.log_format, &error.into()),
    };
    let code = match runtime.block_on(supervise(work)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(telemetry.log_format, &error),
    };
    drop(guard);
    drop(entered);
    // A blocking call that hangs must not keep a stopped process alive.
    runtime.shutdown_background();
    code
}

async fn supervise<F, W, T>(work: F) -> anyhow::Result<u8>
where
    F: FnOnce(Context) -> W,
    W: Future<Output = anyhow::Result<T>>,
    T: Outcome,
{
    let ctx = Context::system();
    let signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let stopper = ctx.stopper.clone();
    let result = tokio::select! {
        result = finish(work(ctx.clone()), &ctx) => result,
        () = signals.watch(stopper) => anyhow::bail!("ended at once by a second signal"),
    };
    match (result, ctx.stopper.failure()) {
        (Ok(_), Some(reason)) => Err(anyhow::anyhow!(reason)),
        (result, _) => result,
    }
}

/// The work, then its tasks; after a stop both together have [`STOP_DEADLINE`].
async fn finish<T: Outcome>(
    work: impl Future<Output = anyhow::Result<T>>,
    ctx: &Context,
) -> anyhow::Result<u8> {
    let overdue = async {
        ctx.stopper.stopped().await;
        tokio::time::sleep(STOP_DEADLINE).await;
    };
    let result = tokio::select! {
        result = work => result.map(Outcome::code),
        () = overdue => Err(anyhow::anyhow!("did not end within {STOP_DEADLINE:?} of the stop and was cut off")),
    };
    ctx.stopper.stop();
    ctx.tasks.join(STOP_DEADLINE).await;
    result
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Stops at the first signal, returns at the second.
    async fn watch(mut self, stopper: Stopper) {
        self.next().await;
        stopper.stop();
        self.next().await;
    }

    async fn next(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    }
}

/// Says once why the process fails: a plain line for people, a log line for machines.
fn report(format: LogFormat, error: &anyhow::Error) -> ExitCode {
    match format {
        LogFormat::Human => eprintln!("error: {}", chain(error.as_ref())),
        LogFormat::Json => tracing::error!("{}", chain(error.as_ref())),
    }
    ExitCode::from(code_of(error))
}

/// Settings are the user's to mend; all else is a failure.
fn code_of(error: &anyhow::Error) -> u8 {
    let usage = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<Invalid>());
    if usage { exit::USAGE } else { exit::FAILED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, load};
    use crate::tasks::OnFailure;

    /// A signal reaches every run of this process, so the tests take turns.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    /// Sends this process a signal, as an operator would.
    async fn send(name: &str) {
        let pid = std::process::id().to_string();
        let sent = tokio::process::Command::new("kill").args([name, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    #[tokio::test]
    async fn work_that_returns_ends_with_its_code() {
        let _turn = TURN.lock().await;
        assert_eq!(supervise(async |_| Ok(())).await.unwrap(), exit::DONE);
        assert_eq!(supervise(async |_| Ok(exit::NEGATIVE)).await.unwrap(), exit::NEGATIVE);
    }

    #[tokio::test]
    async fn tasks_end_before_the_run_does() {
        let _turn = TURN.lock().await;
        let (ended, mut seen) = tokio::sync::mpsc::channel(1);
        let code = supervise(async |ctx: Context| {
            let stopper = ctx.stopper.clone();
            ctx.tasks.spawn("last", OnFailure::StopProcess, async move {
                stopper.stopped().await;
                ended.send("saved").await?;
                Ok(())
            });
            Ok(())
        });
        assert_eq!(code.await.unwrap(), exit::DONE);
        assert_eq!(seen.try_recv(), Ok("saved"));
    }

    #[tokio::test]
    async fn failed_task_stops_the_work_and_is_the_reason() {
        let _turn = TURN.lock().await;
        let run = supervise(async |ctx: Context| {
            ctx.tasks.spawn("writer", OnFailure::StopProcess, async { anyhow::bail!("disk full") });
            ctx.stopper.stopped().await;
            Ok(())
        });
        assert_eq!(run.await.unwrap_err().to_string(), "writer: disk full");
    }

    #[tokio::test]
    async fn first_signal_stops_in_order_and_second_at_once() {
        let _turn = TURN.lock().await;
        for name in ["-TERM", "-INT"] {
            let run = supervise(async |ctx: Context| {
                send(name).await;
                ctx.stopper.stopped().await;
                Ok(())
            });
            assert_eq!(run.await.unwrap(), exit::DONE);
        }
        let run = supervise(async |ctx: Context| {
            send("-TERM").await;
            ctx.stopper.stopped().await;
            send("-INT").await;
            std::future::pending::<anyhow::Result<()>>().await
        });
        assert_eq!(run.await.unwrap_err().to_string(), "ended at once by a second signal");
    }

    #[test]
    fn wrong_settings_exit_64_and_other_errors_1() {
        let layers = Layers { flags: vec![("log_fromat".into(), "json".into())], ..Layers::default() };
        let wrong = load::<TelemetryConfig>(&layers).unwrap_err();
        assert_eq!(code_of(&anyhow::Error::new(wrong).context("cannot start monitor")), exit::USAGE);
        assert_eq!(code_of(&Invalid::new("a", "b", "c").into()), exit::USAGE);
        assert_eq!(code_of(&anyhow::anyhow!("disk full")), exit::FAILED);
    }
}
