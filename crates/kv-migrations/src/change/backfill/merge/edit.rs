//! Text of which most stays as it is.

use super::parts::{Part, Parts};

/// The new text of an object or an array.
pub(super) struct Edit<'a> {
    old: &'a Parts<'a>,
    text: Vec<u8>,
    /// White space before the next comma.
    tail: &'a [u8],
    is_empty: bool,
    pub(super) has_changed: bool,
}

impl<'a> Edit<'a> {
    pub(super) fn new(old: &'a Parts<'a>) -> Self {
        let text = old.text.get(..1).unwrap_or_default().to_vec();
        Self { old, text, tail: &[], is_empty: true, has_changed: false }
    }

    /// Takes a part over, perhaps with a new value.
    pub(super) fn push(&mut self, part: &Part, new: Option<&[u8]>) {
        self.has_changed |= new.is_some();
        self.comma();
        self.text.extend(self.old.slice(&part.lead));
        self.text.extend(new.unwrap_or_else(|| self.old.value(part)));
        // What stands before the closing brace stays there.
        let is_last = self.old.items.last().is_some_and(|last| last.value == part.value);
        self.tail = if is_last { &[] } else { self.old.slice(&part.tail) };
    }

    /// Adds a part, with the white space of the last one.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.has_changed = true;
        self.comma();
        if let Some(last) = self.old.items.last() {
            self.text.extend(self.old.slice(&(last.lead.start..last.key.start)));
            self.text.extend(key);
            self.text.extend(self.old.slice(&(last.key.end..last.lead.end)));
        } else if self.old.is_object() {
            self.text.extend(key);
            self.text.push(b':');
        }
        self.text.extend(value);
        self.tail = &[];
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.extend(self.tail);
            self.text.push(b',');
        }
    }

    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        let end = self.old.items.last().map_or(1, |last| last.value.end);
        self.text.extend(self.old.text.get(end..).unwrap_or_default());
        self.has_changed.then_some(self.text)
    }
}
