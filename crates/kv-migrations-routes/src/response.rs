//! What the routes answer: bodies, reports as JSON, events line by line, and problems (RFC 9457).
//!
//! Uses [`request`](crate::request), whose refusals become problems, and the core crate's reports and errors. Only
//! [`convert`] knows the runtime's types.

pub(crate) mod body;
pub(crate) mod convert;
pub(crate) mod events;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod problem;
pub(crate) mod queue;
pub(crate) mod report;
