//! What a request may do.

/// What a caller with access may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    Read,
    Full,
}
