//! Who asks for something.

/// The most bytes that a label keeps.
const LABEL_BYTES: usize = 200;

/// Who asks for a run or a rollback, and whether they wait for its end.
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
    /// For its own run to end, however many steps that takes.
    pub(super) stays: bool,
    /// For a run in progress, before its own.
    pub(super) waits: bool,
}

impl Caller {
    /// The same with a label, by which others know who it was: in the history, and while the run goes on. At most 200
    /// bytes of it are kept, without its control characters.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        let mut label: String = label.into();
        label.retain(|character| !character.is_control());
        label.truncate(label.floor_char_boundary(LABEL_BYTES));
        self.label = Some(label).filter(|label| !label.is_empty());
        self
    }

    /// The same, waiting for the end of its own run, however many steps it takes; but not for a run that is in progress.
    #[must_use]
    pub fn until_finished(mut self) -> Self {
        self.stays = true;
        self
    }

    /// The same, waiting: for the end of a run that is in progress, to begin one of its own after it; and for the end of
    /// that, as one who [waits for the end](Self::until_finished).
    #[must_use]
    pub fn queued(mut self) -> Self {
        self.waits = true;
        self.until_finished()
    }
}
