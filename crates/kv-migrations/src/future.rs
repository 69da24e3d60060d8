//! The future that the traits of this crate return.

use std::pin::Pin;

/// A boxed future that need not be [`Send`]: a Worker has one thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
