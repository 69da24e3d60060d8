//! Looks whether there is anything left to be moved.

use std::cell::RefCell;
use std::ops::ControlFlow;

use super::moving::Moving;
use super::state::State;
use crate::job::Job;
use crate::migration::Result;
use crate::walk::{Range, Walked, go_through};

impl Moving {
    /// Stops at the first entry that is to be moved.
    pub(super) async fn check(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let position = state.borrow().position.clone();
        go_through(job, Range::all(self.there.prefix()), position, |keys, end| {
            for key in keys {
                let is_to_move = self.target(job, key, &state.borrow())?.is_some();
                if is_to_move && !Self::expires_soon(job, key) {
                    return Ok(ControlFlow::Break(()));
                }
                job.add_done(1);
            }
            state.borrow_mut().position.clone_from(end);
            Ok(ControlFlow::Continue(()))
        })
        .await
    }
}
