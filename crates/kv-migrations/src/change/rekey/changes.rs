//! What a migration makes of a re-key: its `up`, and its `down`.

use std::fmt;

use super::direction::Direction;
use crate::change::contract::BoxChange;
use crate::change::resumable::{Resumable, ResumableChange};

/// What a [`Migration`](crate::Migration) with the context `C` takes as a re-key: a plain [`Rekey`](crate::Rekey), or a `Rekey<C, T>`.
pub trait RekeyFor<C>: IntoChanges<C> {}

/// Makes the changes of a migration.
pub trait IntoChanges<C> {
    fn into_changes(self) -> Changes<C>;
}

/// The `up`, and the `down` if there is an inverse.
pub struct Changes<C> {
    pub(crate) up: BoxChange<C>,
    pub(crate) down: Option<BoxChange<C>>,
}

impl<C> Changes<C> {
    /// There, and back if there is an inverse.
    pub(super) fn new<D: ?Sized, T, R: Resumable<C> + 'static>(
        there: Direction<D, T>,
        change: impl Fn(Direction<D, T>) -> R,
    ) -> Self {
        let change = |direction| -> BoxChange<C> { Box::new(ResumableChange(change(direction))) };
        let back = there.back();
        Self { up: change(there), down: back.map(change) }
    }
}

impl<C> fmt::Debug for Changes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("reversible", &self.down.is_some()).finish_non_exhaustive()
    }
}
