//! What the migrations of a world get.

use crate::monitor::Monitor;
use crate::random::Random;

/// What migrations get: the run that they belong to, and the monitor that they report to.
pub struct Context {
    /// The number of the run.
    pub run: usize,
    /// `None` where only the outcome matters.
    pub monitor: Option<Monitor>,
    /// What migrations draw from that do something else each time.
    pub random: Random,
}

impl Context {
    /// Tells the monitor that the `up` of this migration runs.
    pub fn up_is_running(&self, number: usize) {
        self.monitor.iter().for_each(|monitor| monitor.up_is_running(self.run, number));
    }

    /// Tells the monitor that the `down` of this migration runs.
    pub fn down_is_running(&self, number: usize) {
        self.monitor.iter().for_each(|monitor| monitor.down_is_running(number));
    }
}
