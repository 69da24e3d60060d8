//! How an answer differs from what was expected of it.

use serde_json::Value;

/// Every place where `actual` lacks what `expected` has. Fields that only `actual` has are no difference.
pub(super) fn differences(expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, actual, &mut found);
    found
}

fn compare(path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                compare_at(&format!("{path}/{name}"), value, actual.get(name), found);
            }
        }
        (Value::Array(elements), Value::Array(others)) if elements.len() == others.len() => {
            for (index, (element, other)) in elements.iter().zip(others).enumerate() {
                compare(&format!("{path}/{index}"), element, other, found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("{}: expected {expected}, came {actual}", place(path))),
    }
}

fn compare_at(path: &str, expected: &Value, actual: Option<&Value>, found: &mut Vec<String>) {
    match actual {
        Some(actual) => compare(path, expected, actual, found),
        None => found.push(format!("{}: expected {expected}, is missing", place(path))),
    }
}

fn place(path: &str) -> &str {
    if path.is_empty() { "body" } else { path }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differences;

    #[test]
    fn more_fields_than_expected_are_no_difference() {
        let actual = json!([{ "id": "001", "run": true, "state": "applied" }]);
        assert!(differences(&json!([{ "id": "001", "run": true }]), &actual).is_empty());
    }

    #[test]
    fn names_the_place_of_each_difference() {
        let expected = json!({ "ran": ["001"], "skipped": ["002"], "more": 1 });
        let actual = json!({ "ran": ["002"], "skipped": [] });
        assert_eq!(
            differences(&expected, &actual),
            [
                "/more: expected 1, is missing",
                r#"/ran/0: expected "001", came "002""#,
                r#"/skipped: expected ["002"], came []"#,
            ]
        );
    }

    #[test]
    fn a_body_of_another_kind_differs_as_a_whole() {
        assert_eq!(differences(&json!([]), &json!("oops")), [r#"body: expected [], came "oops""#]);
    }
}
