//! Defects that can be switched on to test the simulation, which has to find them.
//!
//! They exist only with the feature `sabotage`. Without it no defect can be on, and the compiler removes the checks.

/// A defect of the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "sabotage"), allow(unreachable_pub, reason = "public for the simulation alone"))]
pub enum Defect {
    /// A migration is marked as applied before its `up` runs.
    MarkBeforeFinish,
    /// A re-key deletes an entry without looking whether its copy is there.
    DeleteBeforeVerify,
    /// An instance of a coordinator whose lease has gone to another goes on.
    NoFencing,
    /// A coordinator believes what KV says of its markers.
    StaleLedger,
    /// A request of a long migration records its first step only after two seconds.
    LateCheckpoint,
    /// A run that was asked for by a newer release ends as finished when an older one has nothing left to do.
    OlderReleaseFinishes,
    /// The alarm of a coordinator is called again and again if a row cannot be read.
    RetryUnreadable,
    /// A re-key that only copies is applied without a look whether its copies are as new as the entries.
    UnverifiedCopies,
    /// When one entry is done, all entries that have begun beside it are taken to be done.
    PositionAhead,
    /// A re-key by a table loads that again in each request.
    TableReloaded,
    /// A re-key by values does not map an entry again that has changed since its batch was planned.
    MappedOnce,
    /// A re-key by values leaves the copies under keys that entries do not get any more.
    OutdatedCopiesStay,
    /// A changed copy is written before a checkpoint has its record.
    UnrecordedCopies,
    /// A re-key does not report the entries that it leaves.
    LeftUnreported,
    /// Of several entries with one new key, a re-key chooses the first.
    FirstChosen,
    /// A re-key forgets that what stands at a new key wins.
    NewForgotten,
    /// A migration of several prefixes ends after the first one.
    FirstPrefixOnly,
}

#[cfg(feature = "sabotage")]
thread_local! {
    static ON: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Does `work` with this defect, on this thread.
#[cfg(feature = "sabotage")]
pub fn with<T>(defect: Defect, work: impl FnOnce() -> T) -> T {
    let before = ON.replace(Some(defect));
    let result = work();
    ON.set(before);
    result
}

#[cfg(feature = "sabotage")]
pub(crate) fn is_on(defect: Defect) -> bool {
    ON.get() == Some(defect)
}

#[cfg(not(feature = "sabotage"))]
pub(crate) const fn is_on(_: Defect) -> bool {
    false
}
