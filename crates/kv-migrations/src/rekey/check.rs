//! Looks whether there is anything left to be moved.

use std::cell::RefCell;

use super::moving::Moving;
use super::state::State;
use crate::job::Job;
use crate::migration::Result;
use crate::walk::{Pages, Range, Walked};

impl Moving {
    /// Stops at the first entry that is to be moved.
    pub(super) async fn check(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Walked> {
        let mut position = state.borrow().position.clone();
        let mut pages = Pages::new(job, Range::all(self.there.prefix()), position.clone());
        let mut is_first = true;
        loop {
            if !is_first && !job.can_afford(1) {
                return Ok(Walked::Paused);
            }
            let page = match pages.next().await {
                Ok(page) => page,
                Err(_) if job.is_overdrawn() => {
                    return Ok(Walked::over_budget(job));
                }
                Err(error) => return Err(error.into()),
            };
            let Some(page) = page else { return Ok(Walked::All) };
            is_first = false;
            for key in &page.keys {
                let is_to_move = self.target(job, key, &state.borrow())?.is_some();
                if is_to_move && !Self::expires_soon(job, key) {
                    return Ok(Walked::Stopped);
                }
                job.add_done(1);
            }
            let end = page.end(&position);
            if end != position {
                job.note_step();
            }
            position = end;
            state.borrow_mut().position = position.clone();
        }
    }
}
