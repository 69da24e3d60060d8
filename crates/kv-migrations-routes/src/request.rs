//! What a request asks for: its route, its query, its head, and by what its caller may have access.
//!
//! Reads requests, and knows nothing of answers: each refusal is a type of its own, which `response/problem/` turns into
//! an answer. Uses nothing else of this crate.

pub(crate) mod content;
#[cfg(test)]
mod described;
pub(crate) mod dry_run;
pub(crate) mod head;
pub(crate) mod permission;
pub(crate) mod query;
pub(crate) mod release;
pub(crate) mod route;
pub(crate) mod site;
pub(crate) mod token;
