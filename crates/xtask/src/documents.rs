//! The documents of this repository: which there are, and where their links lead. `book` makes a book of them.

pub(crate) mod markdown;
pub(crate) mod pages;
pub(crate) mod words;
