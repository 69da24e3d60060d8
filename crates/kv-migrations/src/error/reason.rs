//! The text of an error and of its causes, without values.

use crate::text::{bounded, replaced, without_stacks};

/// Returns the text of an error and of its causes, as answers, logs, markers, the status and the history have it:
/// at most 2,000 bytes.
///
/// Errors of [`serde_json`] quote values. Of those in the chain, only the kind, the line and the column are told, also where
/// the error around them repeats their text. The stacks of JavaScript errors are left out.
pub fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        // Smaller in a wasm than `to_string`, as wherever every Worker has it.
        let cause_text = format!("{cause}");
        if text.is_empty() {
            text.clone_from(&cause_text);
        } else if !text.ends_with(&cause_text) {
            // Many errors end with the text of their cause.
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        if let Some(json) = cause.downcast_ref().filter(|_| !cause_text.is_empty()) {
            text = replaced(&text, &cause_text, &json_reason(json));
        }
        next = cause.source();
    }
    bounded(without_stacks(text))
}

/// The text of an error of JSON, without what was read.
fn json_reason(error: &serde_json::Error) -> String {
    use serde_json::error::Category;

    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        Category::Data => "JSON of another shape than expected",
        Category::Eof => "JSON that ends too early",
        Category::Syntax if line == 0 => "a value that cannot be written as JSON",
        Category::Syntax => "not JSON",
        Category::Io => "JSON that could not be read or written",
    };
    if line == 0 { what.to_owned() } else { format!("{what}: see line {line}, column {column}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt;

    use super::*;
    use crate::text::MAX_ERROR_BYTES;

    const SECRET: &str = "078-05-1120";

    fn json_error() -> serde_json::Error {
        let json = format!(r#"{{"number":"{SECRET}"}}"#);
        serde_json::from_str::<BTreeMap<String, u8>>(&json).expect_err("it is no number")
    }

    /// An error as services define them.
    #[derive(Debug)]
    struct Outer {
        text: String,
        source: serde_json::Error,
    }

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.text)
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.source)
        }
    }

    #[test]
    fn an_error_of_serde_json_is_told_without_the_value() {
        const SAFE: &str = "JSON of another shape than expected: see line 1, column 23";
        assert!(json_error().to_string().contains(SECRET), "serde_json quotes it");
        assert_eq!(reason(&json_error()), SAFE);
        let repeating = |text: &dyn Fn(String) -> String| {
            let source = json_error();
            reason(&Outer { text: text(source.to_string()), source })
        };
        assert_eq!(repeating(&|_| "no customer".to_owned()), format!("no customer: {SAFE}"));
        assert_eq!(repeating(&|json| format!("no customer: {json}")), format!("no customer: {SAFE}"));
        assert_eq!(
            repeating(&|json| format!("({json}) in 001")),
            format!("({SAFE}) in 001: {SAFE}"),
            "wherever the error around it repeats it"
        );
    }

    #[test]
    fn what_cannot_be_written_as_json_is_told() {
        let error = serde_json::to_string(&BTreeMap::from([((1, 2), 3)])).expect_err("its keys are no text");
        assert_eq!(reason(&error), "a value that cannot be written as JSON");
    }

    #[test]
    fn a_text_of_megabytes_is_bounded() {
        let error = Box::<dyn std::error::Error + Send + Sync>::from("x".repeat(10_000_000));
        assert!(reason(&*error).len() <= MAX_ERROR_BYTES);
    }

    #[test]
    fn a_cause_is_told_once() {
        let source = json_error();
        let text = format!("outer: {source}");
        assert_eq!(reason(&Outer { text, source }).matches("column").count(), 1);
    }
}
