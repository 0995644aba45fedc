// SPDX-License-Identifier: GPL-2.0

//! Repeats what may fail for a while: because the kernel is not done yet, or the machine is slow.

use crate::checkers;
use anyhow::Result;
use std::time::{
    Duration,
    Instant, //
};

/// Retries until `condition` succeeds, for work that the kernel completes asynchronously. Returns
/// the last error after `limit`, multiplied by [`checkers::timeout_factor`].
pub fn eventually<T>(limit: Duration, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let limit = limit * checkers::timeout_factor();
    let start = Instant::now();
    loop {
        match condition() {
            Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}

/// Calls `attempt` until it succeeds or has failed five times, for what only counts if it is done
/// before `limit` is over. An attempt that fails earlier is the last: the machine was fast enough.
/// `prepare` is called before each attempt, and its time does not count.
pub fn before<T>(
    limit: Duration,
    mut prepare: impl FnMut() -> Result<()>,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    const ATTEMPTS: u32 = 5;
    let mut failures = 0;
    loop {
        prepare()?;
        let start = Instant::now();
        match attempt() {
            Err(_) if start.elapsed() >= limit && failures + 1 < ATTEMPTS => failures += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{
        bail,
        ensure, //
    };

    #[test]
    fn the_time_to_prepare_does_not_count() {
        let limit = Duration::from_millis(50);
        let prepare = || {
            std::thread::sleep(limit * 2);
            Ok(())
        };
        let mut count = 0;
        let result: Result<()> = before(limit, prepare, || {
            count += 1;
            bail!("at once");
        });
        assert!(result.is_err());
        assert_eq!(count, 1);
    }

    #[test]
    fn an_attempt_that_is_too_slow_is_repeated() {
        let attempts = |limit, succeeds_at| {
            let mut count = 0;
            let result = before(
                limit,
                || Ok(()),
                || {
                    count += 1;
                    ensure!(count == succeeds_at);
                    Ok(())
                },
            );
            (count, result.is_ok())
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(attempts(hour, 1), (1, true));
        assert_eq!(attempts(hour, 2), (1, false));
        assert_eq!(attempts(Duration::ZERO, 3), (3, true));
        assert_eq!(attempts(Duration::ZERO, 6), (5, false));
    }
}
