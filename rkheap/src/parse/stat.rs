// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/stat`: whether a process has ended.

/// Returns whether a process has ended, and is listed only because its parent has not waited for
/// it. Returns `None` if the text is not that of such a file.
///
/// The main thread alone may have ended: its state is the same then, but other threads still run.
pub fn has_ended(text: &str) -> Option<bool> {
    // The name in parentheses may contain anything, and what follows contains no parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // The fields 3 and 20 of proc(5).
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    Some(matches!(state, "Z" | "X" | "x") && threads <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(name: &str, state: &str, threads: u32) -> String {
        format!(
            "143 ({name}) {state} 1 143 143 0 -1 4194316 0 0 0 0 0 0 0 0 20 0 {threads} 0 2910 0\n"
        )
    }

    #[test]
    fn states() {
        for state in ["R", "S", "D", "T", "t", "I"] {
            assert_eq!(has_ended(&stat("cam", state, 1)), Some(false), "{state}");
        }
        for state in ["Z", "X"] {
            assert_eq!(has_ended(&stat("cam", state, 1)), Some(true), "{state}");
        }
        // The kernel counts no thread of a process that is just being removed.
        assert_eq!(has_ended(&stat("cam", "X", 0)), Some(true));
    }

    #[test]
    fn other_threads_outlive_the_main_thread() {
        assert_eq!(has_ended(&stat("cam", "Z", 2)), Some(false));
    }

    #[test]
    fn names_contain_anything() {
        for name in [") Z 1 1", "a) Z", "(", ")", "a\n) X", ""] {
            assert_eq!(has_ended(&stat(name, "S", 1)), Some(false), "{name}");
            assert_eq!(has_ended(&stat(name, "Z", 1)), Some(true), "{name}");
        }
    }

    #[test]
    fn other_texts() {
        for text in ["", "143 (cam)", "143 (cam) Z 1 143", "143 cam Z"] {
            assert_eq!(has_ended(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_accepted(text in "\\PC*") {
            has_ended(&text);
        }
    }
}
