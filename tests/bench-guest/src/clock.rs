// SPDX-License-Identifier: GPL-2.0

//! Measuring: a clock whose own cost is known, rounds that repeat, and the CPU time of all
//! processes and kernel threads.

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

/// Long enough for all that was put off to be done.
pub const PAUSE: Duration = Duration::from_millis(60);

/// Rounds that count, and those before that do not: they fill slabs, per-CPU lists and pools.
const ROUNDS: usize = 16;
const WARM_UP: usize = 4;

/// How often the clock is read to know what that costs.
const READINGS: u32 = 20_000;

/// The monotonic clock.
pub struct Clock {
    /// What a measurement of nothing says, in nanoseconds.
    cost: f64,
}

impl Clock {
    pub fn calibrated() -> Result<Self> {
        let clock = Clock { cost: 0.0 };
        let mut sum = 0.0;
        for _ in 0..READINGS {
            sum += clock.time(|| Ok(()))?.0;
        }
        Ok(Clock {
            cost: sum / f64::from(READINGS),
        })
    }

    /// How long `action` takes, in nanoseconds, and its result.
    pub fn time<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        let start = Instant::now();
        let result = action();
        let elapsed = start.elapsed();
        Ok((elapsed.as_nanos() as f64 - self.cost, result?))
    }
}

/// Repeats `round`, with a pause after each, and returns of each of its values what it usually is.
pub fn rounds<const N: usize>(round: impl FnMut() -> Result<[f64; N]>) -> Result<[f64; N]> {
    rounds_with_pause(PAUSE, round)
}

/// The same with a pause of any length.
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
    Ok(columns.map(usual))
}

/// The mean of the middle half: an interrupt in one round does not count, and the clock's 16 ns are
/// divided up.
fn usual(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let middle = &values[quarter..values.len() - quarter];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// The CPU time of this thread.
pub fn own_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// The CPU time that every other process and kernel thread has had.
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
                // It has ended meanwhile.
                Err(Errno::ESRCH | Errno::EINVAL) => continue,
                Err(error) => return Err(error).context("cannot read the clock of a process"),
            };
        }
        Ok(OthersTime(times))
    }

    /// What they have had since, in nanoseconds. A thread that has ended meanwhile is left out.
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
    fn what_is_usual_leaves_the_ends_out() {
        assert_eq!(usual(vec![9e9, 2.0, 4.0, 0.0]), 3.0);
        assert_eq!(usual(vec![5.0]), 5.0);
    }

    #[test]
    fn work_of_others_is_seen() {
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
