//! How fast a migration goes, and how long it still takes.

use std::time::Duration;

use crate::answer::Progress;
use crate::duration::show;

/// Measures one phase of one migration.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The migration and its phase, and with how many entries it was seen first, and when.
    measured: Option<(String, String, u64, Duration)>,
}

/// What is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Whether it is the first that is heard of this phase.
    pub(crate) is_new: bool,
    pub(crate) per_second: Option<u64>,
    pub(crate) left: Option<Duration>,
}

impl Pace {
    pub(crate) fn measure(&mut self, id: &str, progress: &Progress, now: Duration) -> Measured {
        let Progress { phase, done, total, .. } = progress;
        let same = self
            .measured
            .as_ref()
            .filter(|(of, in_phase, first, _)| of == id && in_phase == phase && first <= done);
        let Some((_, _, first, since)) = same else {
            self.measured = Some((id.to_owned(), phase.clone(), *done, now));
            return Measured { is_new: true, ..Measured::default() };
        };
        let milliseconds = u64::try_from(now.saturating_sub(*since).as_millis()).unwrap_or(u64::MAX);
        let covered = done - first;
        if covered == 0 || milliseconds < 500 {
            return Measured::default();
        }
        let left = total.map(|total| {
            Duration::from_millis(total.saturating_sub(*done).saturating_mul(milliseconds) / covered)
        });
        Measured { is_new: false, per_second: Some(covered.saturating_mul(1_000) / milliseconds), left }
    }
}

impl Measured {
    /// `431/s, 2 min left`.
    pub(crate) fn text(&self) -> String {
        let rate = self.per_second.map(|rate| format!("{rate}/s"));
        let left = self.left.map(|left| format!("{} left", show(left)));
        rate.into_iter().chain(left).collect::<Vec<_>>().join(", ")
    }
}

/// `1768 of 2000`, with what failed.
pub(crate) fn count(progress: &Progress) -> String {
    let Progress { done, total, failed, .. } = progress;
    let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
    let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{done}{of}{failed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(phase: &str, done: u64) -> Progress {
        Progress { phase: phase.to_owned(), done, total: Some(2_000), ..Progress::default() }
    }

    #[test]
    fn rate_and_time_left_are_those_of_this_phase() {
        let mut pace = Pace::default();
        let mut at =
            |seconds, phase, done| pace.measure("001", &progress(phase, done), Duration::from_secs(seconds));
        assert!(at(0, "entries", 1_000).is_new, "what was done before is not counted");
        assert_eq!(at(1, "entries", 1_000), Measured::default());
        assert_eq!(at(5, "entries", 1_500).text(), "100/s, 5 s left");
        assert!(at(6, "sweep", 10).is_new);
        assert!(at(7, "sweep", 5).is_new, "it started over");
        assert_eq!(count(&progress("entries", 7)), "7 of 2000");
    }
}
