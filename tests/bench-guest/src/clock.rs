// SPDX-License-Identifier: GPL-2.0

//! Measurement primitives: a calibrated clock, repeated rounds, and the CPU time of all processes
//! and kernel threads.

use anyhow::{
    Context,
    Result, //
};
use nix::errno::Errno;
use nix::time::{
    clock_gettime,
    ClockId, //
};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::time::{
    Duration,
    Instant, //
};

/// Long enough for all deferred work to complete.
pub const PAUSE: Duration = Duration::from_millis(60);

/// Number of counted rounds.
const ROUNDS: usize = 16;
/// Number of rounds before them, which fill slabs, per-CPU lists and pools and are not counted.
const WARM_UP: usize = 4;

/// Number of empty measurements that calibrate the clock.
const CALIBRATION_ROUNDS: u32 = 20_000;

/// The monotonic clock with compensation for its own cost.
pub struct Clock {
    /// The result of an empty measurement, in nanoseconds.
    cost: f64,
}

impl Clock {
    pub fn calibrated() -> Result<Self> {
        let clock = Clock { cost: 0.0 };
        let mut sum = 0.0;
        for _ in 0..CALIBRATION_ROUNDS {
            sum += clock.time(|| Ok(()))?.0;
        }
        Ok(Clock {
            cost: sum / f64::from(CALIBRATION_ROUNDS),
        })
    }

    /// Runs `action` and returns its duration in nanoseconds and its result.
    pub fn time<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        let start = Instant::now();
        let result = action();
        let elapsed = start.elapsed();
        Ok((elapsed.as_nanos() as f64 - self.cost, result?))
    }
}

/// Repeats `round` with a pause after each round and returns the interquartile mean of each value.
pub fn rounds<const N: usize>(round: impl FnMut() -> Result<[f64; N]>) -> Result<[f64; N]> {
    rounds_with_pause(PAUSE, round)
}

/// As [`rounds`], with a pause of any length.
pub fn rounds_with_pause<const N: usize>(
    pause: Duration,
    mut round: impl FnMut() -> Result<[f64; N]>,
) -> Result<[f64; N]> {
    let mut columns = [(); N].map(|()| Vec::new());
    for number in 0..WARM_UP + ROUNDS {
        let values = round()?;
        if number >= WARM_UP {
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(value);
            }
        }
        std::thread::sleep(pause);
    }
    Ok(columns.map(interquartile_mean))
}

/// Returns the mean of the middle half. It ignores single rounds with interrupts and averages out
/// the clock's resolution of 16 ns.
fn interquartile_mean(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let middle = &values[quarter..values.len() - quarter];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// Returns the CPU time of this thread.
pub fn own_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// The CPU time of each other process and kernel thread.
pub struct OthersTime(BTreeMap<i32, Duration>);

impl OthersTime {
    pub fn now() -> Result<Self> {
        let own = Pid::this().as_raw();
        let mut times = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").context("cannot list /proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if pid == own {
                continue;
            }
            let time = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).and_then(clock_gettime);
            match time {
                Ok(time) => times.insert(pid, time.into()),
                // The process has exited.
                Err(Errno::ESRCH | Errno::EINVAL) => continue,
                Err(error) => return Err(error).context("cannot read the CPU clock of a process"),
            };
        }
        Ok(OthersTime(times))
    }

    /// Returns the CPU time spent since `earlier`, in nanoseconds. Threads that have exited do not
    /// count.
    pub fn since(&self, earlier: &OthersTime) -> f64 {
        let spent = |(pid, time): (&i32, &Duration)| {
            let before = earlier.0.get(pid).copied().unwrap_or_default();
            time.saturating_sub(before).as_nanos() as f64
        };
        self.0.iter().map(spent).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_ignores_the_outer_quarters() {
        assert_eq!(interquartile_mean(vec![9e9, 2.0, 4.0, 0.0]), 3.0);
        assert_eq!(interquartile_mean(vec![5.0]), 5.0);
    }

    #[test]
    fn cpu_time_of_other_processes_is_counted() {
        let before = OthersTime::now().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let spent = OthersTime::now().unwrap().since(&before);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(spent > 1e6, "{spent}");
    }
}
