//! How many entries can be worked on at once, for what is left of the budget.

use crate::job::Job;
use crate::kv::limits::MAX_CONNECTIONS;

/// How many entries are worked on at once: more than there are connections, so that one which takes longer does not
/// keep the others waiting.
const AT_ONCE: usize = 2 * MAX_CONNECTIONS;

/// Says how much more can be begun, so that what is under way can be finished within the budget.
pub(super) struct Pace<'a> {
    pub(super) job: &'a Job<'a>,
    /// The operations of the request before the first step was begun.
    operations_before: u64,
    begun: u64,
    pub(super) finished: u64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(job: &'a Job<'a>) -> Self {
        Self { job, operations_before: 0, begun: 0, finished: 0 }
    }

    pub(super) fn begin(&mut self) {
        if self.begun == 0 {
            self.operations_before = self.job.operations();
        }
        self.begun += 1;
    }

    /// Whether another can be worked on beside those that are. The first of a request is made alone: then it is known
    /// what one takes, and each request gets further than the one before.
    pub(super) fn is_free(&self, working: usize) -> bool {
        working < if self.finished == 0 { 1 } else { AT_ONCE }
    }

    /// Whether there is enough for what is under way, and for one more.
    pub(super) fn can_afford(&self) -> bool {
        if self.begun == 0 {
            return true;
        }
        let spent = self.job.operations().saturating_sub(self.operations_before);
        let each = spent.div_ceil(self.finished.max(1)).max(1);
        self.job.can_afford(each * (self.begun - self.finished + 1))
    }
}
