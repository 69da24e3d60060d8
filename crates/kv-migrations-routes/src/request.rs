//! What a request asks for: its route, its query, its head, and whether its caller has access.
//!
//! Everything here is pure, and knows nothing of answers: what is refused is a value of its own type, which
//! [`response::problem`](crate::response::problem) turns into an answer. Nothing else of this crate is used here.

pub(crate) mod access;
pub(crate) mod head;
pub(crate) mod query;
pub(crate) mod route;
