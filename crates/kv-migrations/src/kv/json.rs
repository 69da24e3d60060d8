//! Reading JSON with errors that say where it is not as expected, and never what stands there: the messages of
//! [`serde_json`] quote values.

use std::fmt;

use serde::de::DeserializeOwned;

/// JSON that is not as expected. It tells where, and not what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The byte in the line, from 1.
    pub column: usize,
    /// The fields that lead there, like `address.lines[2]`. Empty for the whole. `*` stands for the name of a field that
    /// is no identifier, because it may be data: the key of a map.
    pub path: String,
}

/// The bytes after a byte order mark: a bulk get loses one, and a single get does not.
pub(crate) fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Parses JSON, also behind a byte order mark.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, JsonError> {
    let json = without_byte_order_mark(json);
    serde_json::from_slice(json).map_err(|error| locate(json, error.line(), error.column()))
}

fn locate(json: &[u8], line: usize, column: usize) -> JsonError {
    JsonError { line, column, path: path_at(json, line, column) }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path } = self;
        write!(f, "not the expected JSON: see line {line}, column {column}")?;
        if path.is_empty() { Ok(()) } else { write!(f, ", at `{path}`") }
    }
}

impl std::error::Error for JsonError {}

/// The fields and indexes around a place in JSON. What comes after the place does not matter, so that the JSON may be
/// broken there.
///
/// This is far smaller in every user's wasm than a deserializer that keeps the path while it reads, like that of
/// `serde_path_to_error`, which doubles the code of each type that is read.
fn path_at(json: &[u8], line: usize, column: usize) -> String {
    let start: usize =
        json.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let before = json.get(..start.saturating_add(column)).unwrap_or(json);
    let mut around = Vec::new();
    let mut rest = before.iter().enumerate();
    while let Some((place, byte)) = rest.next() {
        match (byte, around.last_mut()) {
            (b'{', _) => around.push(Step::Field(None)),
            (b'[', _) => around.push(Step::Index(0)),
            (b'}' | b']', _) => drop(around.pop()),
            (b',', Some(Step::Field(name))) => *name = None,
            (b',', Some(Step::Index(index))) => *index += 1,
            (b'"', last) => {
                let mut is_escaped = false;
                let is_end = |(_, byte): &(usize, &u8)| {
                    let is_end = **byte == b'"' && !is_escaped;
                    is_escaped = **byte == b'\\' && !is_escaped;
                    is_end
                };
                let end = rest.find(is_end);
                // The first text after `{` or `,` is the name of a field.
                if let (Some(Step::Field(name @ None)), Some((end, _))) = (last, end) {
                    *name = before.get(place + 1..end);
                }
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for step in around {
        match step {
            Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
            Step::Field(None) => {}
            Step::Field(Some(name)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(identifier(name).unwrap_or("*"));
            }
        }
    }
    path
}

/// A step from a value into one of its parts.
enum Step<'a> {
    /// `None` before the name of the field is read.
    Field(Option<&'a [u8]>),
    Index(usize),
}

/// The name of a field, if it looks like one.
fn identifier(name: &[u8]) -> Option<&str> {
    const MAX_BYTES: usize = 40;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_name = name.len() <= MAX_BYTES
        && name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && name.iter().all(is_part);
    std::str::from_utf8(name).ok().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Customer {
        #[allow(dead_code, reason = "only read")]
        address: Address,
    }

    #[derive(Debug, Deserialize)]
    struct Address {
        #[allow(dead_code, reason = "only read")]
        lines: Vec<String>,
        #[allow(dead_code, reason = "only read")]
        number: Option<u8>,
    }

    fn text<T: DeserializeOwned + fmt::Debug>(json: &str) -> String {
        parse::<T>(json.as_bytes()).expect_err("it is not as expected").to_string()
    }

    #[test]
    fn an_error_names_the_place_and_the_fields_that_lead_there() {
        let cases = [
            (r#"{"address":{"lines":["a",7]}}"#, "line 1, column 26, at `address.lines[1]`"),
            (r#"{"address":{"lines":[],"number":"078-05-1120"}}"#, "line 1, column 45, at `address.number`"),
            ("{\n  \"address\": {\n    \"number\": 300\n  }\n}", "line 3, column 17, at `address.number`"),
            (r#"{"address":{"number":1}}"#, "line 1, column 23, at `address`"),
            (r#"{"address":{"a\"}{":[{}],"number":-1}}"#, "line 1, column 36, at `address.number`"),
            (r#"{"name":{},"address":"#, "line 1, column 21, at `address`"),
            ("{}", "line 1, column 2"),
            (r#""text""#, "line 1, column 6"),
            ("", "line 1, column 0"),
        ];
        for (json, place) in cases {
            assert_eq!(text::<Customer>(json), format!("not the expected JSON: see {place}"), "{json}");
        }
    }

    #[test]
    fn the_key_of_a_map_that_may_be_data_is_not_named() {
        for key in ["ada@example.com", "078-05-1120", "+49 30 1", "Ada Lovelace", "grüße", ""] {
            let json = format!(r#"{{"{key}":{{"seen":"often"}}}}"#);
            let error = text::<BTreeMap<String, BTreeMap<String, u8>>>(&json);
            assert!(error.ends_with(", at `*.seen`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_error_has_a_value(secret in "[a-z]{12,30}", cut in 0_usize..80) {
            let json = format!(r#"{{"address":{{"lines":["{secret}",{{"{secret}x!":7}}],"number":"{secret}"}}}}"#);
            let json = json.get(..cut).unwrap_or(&json);
            let error = text::<Customer>(json);
            prop_assert!(!error.contains(&secret), "{}", error);
        }

        #[test]
        fn any_bytes_have_a_path(bytes in any::<Vec<u8>>(), line in 0_usize..5, column in 0_usize..50) {
            locate(&bytes, line, column);
            drop(parse::<Value>(&bytes));
        }
    }
}
