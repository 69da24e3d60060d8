//! What a request asks for: its route, its query, its head, and whether its caller has access.
//!
//! Reads requests, and knows nothing of answers: each refusal is a type of its own, which `response/problem/` turns into
//! an answer. Uses nothing else of this crate.

pub(crate) mod access;
pub(crate) mod head;
pub(crate) mod query;
pub(crate) mod route;
