//! Changes JSON text by what changed in a value that was read from it, and leaves all else as it is: pure.
//!
//! The value was written as JSON before and after its change. What differs between these two is changed in the text. What
//! they do not name, the text keeps as it stands there. A `serde_json::value::RawValue` for each field would need a type of
//! its own for each type that is read; spans of the text need none.

mod edit;
mod parts;

use std::collections::{BTreeMap, VecDeque};

use edit::Edit;
use parts::Parts;

/// An element of an array has fields that the type does not name, and nobody can tell what becomes of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unassignable;

/// The text with what differs between `before` and `after`. `None` if nothing does. All three are JSON; anything else gives
/// some text, but no panic.
pub(super) fn merged(text: &[u8], before: &[u8], after: &[u8]) -> Result<Option<Vec<u8>>, Unassignable> {
    if before == after {
        return Ok(None);
    }
    match (Parts::of(text), Parts::of(before), Parts::of(after)) {
        (Some(text), Some(before), Some(after)) if text.is_like(&before) && text.is_like(&after) => {
            if text.is_object() { objects(&text, &before, &after) } else { arrays(&text, &before, &after) }
        }
        _ => Ok(Some(after.to_vec())),
    }
}

/// Whether two values are the same, in whatever order their fields and elements are: maps and sets have none.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (Parts::of(one), Parts::of(other)) {
        (Some(one), Some(other)) if one.is_like(&other) && one.items.len() == other.items.len() => {
            let numbers = Pairs::of(&other, &one).numbers;
            one.items.iter().zip(numbers).all(|(part, number)| {
                let value = match number.and_then(|number| other.items.get(number)) {
                    _ if one.is_object() => other.get(&part.name),
                    element => element.map(|element| other.value(element)),
                };
                value.is_some_and(|value| is_same(one.value(part), value))
            })
        }
        _ => false,
    }
}

fn objects(text: &Parts<'_>, before: &Parts<'_>, after: &Parts<'_>) -> Result<Option<Vec<u8>>, Unassignable> {
    let mut edit = Edit::new(text);
    for part in &text.items {
        let new = match (before.get(&part.name), after.get(&part.name)) {
            (None, None) => None,
            (Some(before), Some(after)) => merged(text.value(part), before, after)?,
            (None, Some(after)) => Some(after.to_vec()),
            (Some(_), None) => {
                edit.has_changed = true;
                continue;
            }
        };
        edit.push(part, new.as_deref());
    }
    for part in &after.items {
        let is_new = text.get(&part.name).is_none() && before.get(&part.name) != Some(after.value(part));
        if is_new {
            edit.add(after.key_text(part), after.value(part));
        }
    }
    Ok(edit.finish())
}

fn arrays(text: &Parts<'_>, before: &Parts<'_>, after: &Parts<'_>) -> Result<Option<Vec<u8>>, Unassignable> {
    if text.items.len() != before.items.len() {
        // A set, perhaps. Without objects there are no fields that could be lost.
        return if text.text.contains(&b'{') { Err(Unassignable) } else { Ok(Some(after.text.to_vec())) };
    }
    let Pairs { numbers, left } = Pairs::of(before, after);
    let is_lost = |number: &usize| {
        let pair = text.items.get(*number).zip(before.items.get(*number));
        pair.is_some_and(|(text_part, part)| has_unnamed(text.value(text_part), before.value(part)))
    };
    if numbers.contains(&None) && left.iter().any(is_lost) {
        return Err(Unassignable);
    }
    let mut edit = Edit::new(text);
    edit.has_changed = numbers.len() != text.items.len();
    for (index, (part, number)) in after.items.iter().zip(&numbers).enumerate() {
        let pair = number.and_then(|number| text.items.get(number).zip(before.items.get(number)));
        match pair {
            None => edit.add(&[], after.value(part)),
            Some((old, part_before)) => {
                edit.has_changed |= *number != Some(index);
                let new = merged(text.value(old), before.value(part_before), after.value(part))?;
                edit.push(old, new.as_deref());
            }
        }
    }
    Ok(edit.finish())
}

/// Which elements are the same before and after a change.
struct Pairs {
    /// For each element after it, which one it was before.
    numbers: Vec<Option<usize>>,
    /// Those that are gone.
    left: Vec<usize>,
}

impl Pairs {
    /// An element was the equal one before. Else it was the one at its place, if there are as many as before; or the only one
    /// that is left, if there is only one for which none is found.
    fn of(before: &Parts<'_>, after: &Parts<'_>) -> Self {
        let is_as_long = before.items.len() == after.items.len();
        let places = || before.items.iter().enumerate();
        let is_kept = |place: usize| {
            let values = before.items.get(place).zip(after.items.get(place));
            values.is_some_and(|(one, other)| before.value(one) == after.value(other))
        };
        let mut is_left: Vec<bool> = places().map(|(place, _)| !is_kept(place)).collect();
        let mut equal: BTreeMap<&[u8], VecDeque<usize>> = BTreeMap::new();
        for (place, part) in places().filter(|(place, _)| !is_kept(*place)) {
            equal.entry(before.value(part)).or_default().push_back(place);
        }
        let mut take = |number: Option<usize>| {
            let is_left = is_left.get_mut(number?).filter(|is_left| **is_left)?;
            *is_left = false;
            number
        };
        let mut numbers: Vec<Option<usize>> = after
            .items
            .iter()
            .enumerate()
            .map(|(place, part)| {
                if is_kept(place) {
                    return Some(place);
                }
                take(equal.get_mut(after.value(part)).and_then(VecDeque::pop_front))
            })
            .collect();
        if is_as_long {
            for (place, number) in numbers.iter_mut().enumerate() {
                *number = number.or_else(|| take(Some(place)));
            }
        }
        let mut left: Vec<usize> =
            places().map(|(place, _)| place).filter(|place| is_left.get(*place) == Some(&true)).collect();
        let mut open = numbers.iter_mut().filter(|number| number.is_none());
        if let (Some(number), None, true) = (open.next(), open.next(), is_as_long) {
            *number = left.pop();
        }
        Self { numbers, left }
    }
}

/// Whether the text has fields that the value, which was read from it and written again, does not name.
fn has_unnamed(text: &[u8], value: &[u8]) -> bool {
    match (Parts::of(text), Parts::of(value)) {
        (None, _) => false,
        (Some(text), Some(value)) if text.is_like(&value) && text.is_object() => text
            .items
            .iter()
            .any(|part| value.get(&part.name).is_none_or(|value| has_unnamed(text.value(part), value))),
        (Some(text), Some(value)) if text.is_like(&value) && text.items.len() == value.items.len() => text
            .items
            .iter()
            .zip(&value.items)
            .any(|(one, other)| has_unnamed(text.value(one), value.value(other))),
        (Some(text), _) => text.text.contains(&b'{'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn merge(text: &str, before: &str, after: &str) -> Result<Option<String>, Unassignable> {
        let merged = merged(text.as_bytes(), before.as_bytes(), after.as_bytes())?;
        Ok(merged.map(|text| String::from_utf8(text).expect("it is text")))
    }

    #[test]
    fn only_what_changed_is_changed() {
        let rows = [
            // text, before, after, expected
            (r#"{"a":1,"x":1.10}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2,"x":1.10}"#),
            (r#"{"x":1e400,"a":1}"#, r#"{"a":1}"#, r#"{"a":1,"b":2}"#, r#"{"x":1e400,"a":1,"b":2}"#),
            (r#"{"a":1.0,"b":1}"#, r#"{"a":1.0,"b":1}"#, r#"{"a":1.0,"b":2}"#, r#"{"a":1.0,"b":2}"#),
            (r#"{"a":1,"x":0,"b":2}"#, r#"{"a":1,"b":2}"#, r#"{"a":1}"#, r#"{"a":1,"x":0}"#),
            (r#"{"a":1,"x":0}"#, r#"{"a":1}"#, "{}", r#"{"x":0}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#, "{}", "{}"),
            ("{}", r#"{"a":null}"#, r#"{"a":1}"#, r#"{"a":1}"#),
            ("{ }", "{}", r#"{"a":1}"#, r#"{"a":1 }"#),
            // A default is not written unless it changed.
            (r#"{"a":1}"#, r#"{"a":1,"tags":[]}"#, r#"{"a":2,"tags":[]}"#, r#"{"a":2}"#),
            // At any depth.
            (
                r#"{"o":{"x":[1.50],"a":1},"y":{}}"#,
                r#"{"o":{"a":1}}"#,
                r#"{"o":{"a":{"b":1}}}"#,
                r#"{"o":{"x":[1.50],"a":{"b":1}},"y":{}}"#,
            ),
            // Keys are the same however they are escaped.
            (
                "{\"\\u0061\":1,\"x\":\"}\\\"\"}",
                r#"{"a":1}"#,
                r#"{"a":2}"#,
                "{\"\\u0061\":2,\"x\":\"}\\\"\"}",
            ),
            // White space stays, and is repeated.
            (
                "{\n  \"a\": 1,\n  \"x\": 2 ,\n  \"b\": 3\n}",
                r#"{"a":1,"b":3}"#,
                r#"{"a":9,"c":4}"#,
                "{\n  \"a\": 9,\n  \"x\": 2 ,\n  \"c\": 4\n}",
            ),
            // A map in another order.
            (r#"{"a":1,"b":1,"x":7}"#, r#"{"a":1,"b":1}"#, r#"{"b":2,"a":1}"#, r#"{"a":1,"b":2,"x":7}"#),
            // Elements: in place, taken out, moved, added.
            (
                r#"[{"a":1,"x":1},{"a":2,"x":2}]"#,
                r#"[{"a":1},{"a":2}]"#,
                r#"[{"a":1},{"a":3}]"#,
                r#"[{"a":1,"x":1},{"a":3,"x":2}]"#,
            ),
            (
                r#"[{"a":1,"x":1},{"a":2,"x":2}]"#,
                r#"[{"a":1},{"a":2}]"#,
                r#"[{"a":2}]"#,
                r#"[{"a":2,"x":2}]"#,
            ),
            (
                r#"[{"a":1,"x":1},{"a":2,"x":2}]"#,
                r#"[{"a":1},{"a":2}]"#,
                r#"[{"a":2},{"a":1}]"#,
                r#"[{"a":2,"x":2},{"a":1,"x":1}]"#,
            ),
            (
                r#"[{"a":1,"x":1},{"a":2,"x":2}]"#,
                r#"[{"a":1},{"a":2}]"#,
                r#"[{"a":3},{"a":1}]"#,
                r#"[{"a":3,"x":2},{"a":1,"x":1}]"#,
            ),
            (r#"[{"a":1,"x":1}]"#, r#"[{"a":1}]"#, r#"[{"a":0},{"a":1}]"#, r#"[{"a":0},{"a":1,"x":1}]"#),
            ("[1.0, 2.0]", "[1.0,2.0]", "[1.0,2.0,3.0]", "[1.0, 2.0, 3.0]"),
            ("[1,1,2]", "[1,2]", "[1,2,3]", "[1,2,3]"),
            (r#"{"a":1}"#, r#"{"a":1}"#, "7", "7"),
        ];
        for (text, before, after, expected) in rows {
            let merged = merge(text, before, after).expect("nothing is lost").expect("something changed");
            assert_eq!(merged, expected, "{text}: {before} becomes {after}");
        }
    }

    #[test]
    fn nothing_is_changed_if_nothing_changed() {
        assert_eq!(merge(r#"{"b":2.0,"a":1e0}"#, r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#), Ok(None));
    }

    #[test]
    fn fields_of_elements_that_nobody_could_assign_are_told() {
        let text = r#"[{"a":1,"x":1},{"a":2,"x":2}]"#;
        for after in [r#"[{"a":3}]"#, r#"[{"a":1},{"a":3},{"a":4}]"#, r#"[{"a":5},{"a":6},{"a":7}]"#] {
            assert_eq!(merge(text, r#"[{"a":1},{"a":2}]"#, after), Err(Unassignable), "{after}");
        }
        let named = r#"[{"a":1},{"a":2}]"#;
        assert_eq!(
            merge(named, named, r#"[{"a":3}]"#),
            Ok(Some(r#"[{"a":3}]"#.to_owned())),
            "there are none"
        );
    }

    /// The model: a merge of values.
    fn model(text: &Value, before: &Value, after: &Value) -> Value {
        match (text, before, after) {
            (Value::Object(text), Value::Object(before), Value::Object(after)) => {
                let mut new = text.clone();
                for key in before.keys().filter(|key| !after.contains_key(*key)) {
                    new.remove(key);
                }
                for (key, value) in after {
                    match (text.get(key), before.get(key)) {
                        (_, Some(before)) if before == value => {}
                        (Some(text), Some(before)) => {
                            drop(new.insert(key.clone(), model(text, before, value)));
                        }
                        _ => drop(new.insert(key.clone(), value.clone())),
                    }
                }
                new.into()
            }
            _ if before == after => text.clone(),
            _ => after.clone(),
        }
    }

    /// Objects in objects, with scalars, and arrays of scalars.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\{}\\[\\]:, ü\n]{0,4}".prop_map(Value::from),
            proptest::collection::vec(0_u8..3, 0..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-d\"\\\\ü]{1,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect())
        })
    }

    /// What a type would name of a value.
    fn named(value: &Value, seed: u64) -> Value {
        match value {
            Value::Object(members) => {
                let keep = |key: &str| key.bytes().fold(seed, |sum, byte| sum * 31 + u64::from(byte)) % 3 > 0;
                let kept = members.iter().filter(|(key, _)| keep(key));
                kept.map(|(key, value)| (key.clone(), named(value, seed))).collect()
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn it_merges_as_values_would(text in json(), after in json(), seed in 0_u64..9, is_pretty in any::<bool>()) {
            let before = named(&text, seed);
            // Half of it as before.
            let after = model(&before, &named(&before, seed + 1), &after);
            let written = if is_pretty { serde_json::to_string_pretty(&text) } else { serde_json::to_string(&text) };
            let written = written.expect("it is JSON");
            let merged = merge(&written, &before.to_string(), &after.to_string());
            let merged = merged.expect("elements have no fields").unwrap_or(written);
            let read: Value = serde_json::from_str(&merged).map_err(|error| TestCaseError::fail(format!("{error}: {merged}")))?;
            prop_assert_eq!(read, model(&text, &before, &after), "{}", merged);
        }

        #[test]
        fn any_bytes_are_merged_without_a_panic(text in any::<Vec<u8>>(), before in "[\\[\\]{}\",:a1 ]{0,9}", after in "[\\[\\]{}\",:a1 ]{0,9}") {
            drop(merged(&text, before.as_bytes(), after.as_bytes()));
            drop(merged(after.as_bytes(), before.as_bytes(), &text));
        }
    }
}
