//! Who asks for something.

/// The most bytes of a label that are kept.
const MAX_LABEL_BYTES: usize = 200;

/// Who asks for a run or a rollback, and what they wait for. The default waits for the first step.
///
/// # Example
/// ```
/// use kv_migrations::coordinator::Caller;
///
/// let caller = Caller::default().with_label("deploy 4711").queued();
/// # let _ = caller;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    pub(super) label: Option<String>,
    pub(super) waits_for_end: bool,
    pub(super) is_queued: bool,
}

impl Caller {
    /// Sets the label that identifies the caller in the history and to other callers. Control characters are removed,
    /// and at most 200 bytes are kept. An empty label is no label.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        let mut label: String = label.into();
        label.retain(|character| !character.is_control());
        label.truncate(label.floor_char_boundary(MAX_LABEL_BYTES));
        self.label = Some(label).filter(|label| !label.is_empty());
        self
    }

    /// Waits for the end of the caller's own run, however many steps it takes. If another run is in progress, the
    /// caller is refused.
    #[must_use]
    pub fn until_finished(mut self) -> Self {
        self.waits_for_end = true;
        self
    }

    /// Waits for the end of a run in progress, then begins a run and waits for its end, as with
    /// [`until_finished`](Self::until_finished). Those who wait for a run share the next one that begins after they asked.
    /// Each rollback is its own.
    #[must_use]
    pub fn queued(mut self) -> Self {
        self.is_queued = true;
        self.until_finished()
    }
}
