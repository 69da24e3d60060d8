//! The result of checking an invariant.

use std::fmt;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// Whether an invariant holds.
pub type Check = Result<(), Violation>;

/// The result of a check that found a violation.
pub fn violated(invariant: &'static str, text: impl Into<String>) -> Check {
    Err(Violation { invariant, text: text.into() })
}
