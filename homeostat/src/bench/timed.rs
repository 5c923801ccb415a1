//! What work takes: on the clock, and of processors, which says the same on a busy machine.

use chassis::Context;
use nix::time::{ClockId, clock_gettime};

/// One measurement, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    pub(super) wall_s: f64,
    /// Of every thread of this process.
    pub(super) processor_s: f64,
}

/// Does the work, and says what it took.
pub(super) fn timed<T>(ctx: &Context, work: impl FnOnce() -> T) -> (T, Took) {
    let (began, used) = (ctx.clock.monotonic(), processor_s());
    let done = work();
    let wall_s = (ctx.clock.monotonic() - began).as_secs_f64();
    (done, Took { wall_s, processor_s: processor_s() - used })
}

fn processor_s() -> f64 {
    let used = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok();
    used.map_or(f64::NAN, |used| used.tv_sec() as f64 + used.tv_nsec() as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_both() {
        let (sum, took) =
            timed(&Context::system(), || (0..2_000_000u64).map(std::hint::black_box).sum::<u64>());
        assert_eq!(sum, 1_999_999_000_000);
        assert!(took.wall_s > 0.0 && took.processor_s > 0.0, "{took:?}");
    }
}
