//! The parts of an object or an array in JSON text, and where they stand.

use std::collections::BTreeMap;
use std::ops::Range;

/// An object or an array, in parts.
pub(super) struct Parts<'a> {
    pub(super) text: &'a [u8],
    pub(super) items: Vec<Part>,
    /// The values of an object by their keys. If a key occurs twice, the last one, as serde reads it.
    values: BTreeMap<String, &'a [u8]>,
}

/// A member of an object, or an element of an array: where it stands.
pub(super) struct Part {
    /// From the brace or the comma before it: white space, the key, the colon.
    pub(super) lead: Range<usize>,
    /// Empty in an array.
    pub(super) key: Range<usize>,
    /// The key without escapes.
    pub(super) name: String,
    pub(super) value: Range<usize>,
    /// White space up to the comma or the brace after it.
    pub(super) tail: Range<usize>,
}

impl<'a> Parts<'a> {
    /// `None` if it is neither an object nor an array.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let is_object = match text.first()? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        let mut all = Self { text, items: Vec::new(), values: BTreeMap::new() };
        let mut at = 1;
        loop {
            let start = at;
            at = after_space(text, at);
            if matches!(text.get(at), None | Some(b'}' | b']')) {
                return Some(all);
            }
            let (mut key, mut name) = (at..at, String::new());
            if is_object {
                key.end = value_end(text, at);
                name = serde_json::from_slice(all.slice(&key)).unwrap_or_default();
                at = after_space(text, after_space(text, key.end) + 1);
            }
            let value = at..value_end(text, at);
            at = after_space(text, value.end);
            if is_object {
                all.values.insert(name.clone(), all.slice(&value));
            }
            all.items.push(Part { lead: start..value.start, key, name, tail: value.end..at, value });
            if text.get(at) != Some(&b',') {
                return Some(all);
            }
            at += 1;
        }
    }

    pub(super) fn is_object(&self) -> bool {
        self.text.first() == Some(&b'{')
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.is_object() == other.is_object()
    }

    pub(super) fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    pub(super) fn value(&self, part: &Part) -> &'a [u8] {
        self.slice(&part.value)
    }

    pub(super) fn key_text(&self, part: &Part) -> &'a [u8] {
        self.slice(&part.key)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.values.get(name).copied()
    }
}

fn after_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Where the value that begins here ends.
fn value_end(json: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while json.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if json.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at.min(json.len())
}
