//! The texts of errors, as answers, logs, markers, the status and the history have them: of bounded size, and without
//! JavaScript's stacks.

/// The most bytes of an error's text.
pub(crate) const MAX_ERROR_BYTES: usize = 2_000;
/// The most bytes of the text about one entry of many.
pub(crate) const MAX_REASON_BYTES: usize = 200;

/// What stands for the part that is cut out.
const GAP: &str = " … ";

/// Cuts out the middle of a text that is too long.
pub(crate) fn bounded(text: String) -> String {
    without_middle(text, MAX_ERROR_BYTES)
}

/// Cuts out the middle of a text about one entry that is too long: a key in it can be.
pub(crate) fn shortened(text: String) -> String {
    without_middle(text, MAX_REASON_BYTES)
}

/// The last quarter of what is allowed stays: the end often says what to do.
fn without_middle(mut text: String, max: usize) -> String {
    if text.len() > max {
        let tail = text.split_off(text.ceil_char_boundary(text.len() - max / 4));
        text.truncate(text.floor_char_boundary(max - max / 4 - GAP.len()));
        text.push_str(GAP);
        text.push_str(&tail);
    }
    text
}

/// Returns the first ids of a list, and how many more there are: a service can have thousands, of five hundred
/// bytes each.
pub fn listed(ids: &[String]) -> String {
    const MAX_LISTED: usize = 10;
    const MAX_BYTES: usize = 1_000;
    let mut text = String::new();
    for (index, id) in ids.iter().enumerate() {
        if index == MAX_LISTED || text.len() + id.len() > MAX_BYTES {
            return format!("{text} and {} more", ids.len() - index);
        }
        text.push_str(if index == 0 { "`" } else { ", `" });
        text.push_str(id);
        text.push('`');
    }
    text
}

/// Leaves out the stacks of JavaScript errors, which `worker` writes as `JsValue(TypeError: why\nTypeError: why\n    at …)`.
pub(crate) fn without_stacks(text: String) -> String {
    const FRAME: &str = "    at ";
    if split_at(&text, FRAME).is_none() {
        return text;
    }
    // D1 indents its own twice.
    let text = replaced(&text, "        at ", FRAME);
    let (mut kept, mut last, mut rest) = (String::new(), "", Some(text.as_str()));
    while let Some(lines) = rest {
        let line;
        (line, rest) = split_at(lines, "\n").map_or((lines, None), |(line, after)| (line, Some(after)));
        // A stack repeats the message first.
        let is_repeated = !last.is_empty() && last.ends_with(line);
        if !is_repeated && !line.starts_with(FRAME) {
            kept.push_str(if kept.is_empty() { "" } else { "\n" });
            kept.push_str(line);
            last = line;
        }
    }
    replaced(&kept, "JsValue(", "")
}

/// The text with `to` in every place of `from`. The standard library's search would add two kilobytes to every user's wasm.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some((before, after)) = split_at(rest, from) {
        replaced.push_str(before);
        replaced.push_str(to);
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// What stands before and after the first place of a text that is not empty.
pub(crate) fn split_at<'a>(text: &'a str, part: &str) -> Option<(&'a str, &'a str)> {
    let place = text.as_bytes().windows(part.len().max(1)).position(|bytes| bytes == part.as_bytes())?;
    Some((text.get(..place)?, text.get(place + part.len()..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stack_is_cut_to_the_message() {
        let thrown = "js error: JsValue(TypeError: t.get is not a function\nTypeError: t.get is not a function\n    \
                      at get (index.js:12:7)\n    at async Object.fetch (index.js:40:3))";
        assert_eq!(without_stacks(thrown.to_owned()), "js error: TypeError: t.get is not a function");
        let alone =
            "Error: no such binding\n    at wasm://wasm/00a1:wasm-function[7]:0x10\n    at <anonymous>";
        assert_eq!(without_stacks(alone.to_owned()), "Error: no such binding");
        let of_d1 = "D1: Error { cause: no such table: users\n        at D1Database._sendOrThrow (cloudflare-internal:d1-api:200:22) }";
        assert_eq!(without_stacks(of_d1.to_owned()), "D1: Error { cause: no such table: users");
    }

    #[test]
    fn a_text_without_a_stack_stays_as_it_is() {
        for text in ["", "one line", "two\nlines", "JsValue(7)", "at noon\nat home"] {
            assert_eq!(without_stacks(text.to_owned()), text);
        }
    }

    #[test]
    fn a_text_that_is_too_long_keeps_its_start_and_its_end() {
        let text = format!("it failed{}: do this", "x".repeat(5_000_000));
        let bounded = bounded(text);
        assert!(bounded.len() <= MAX_ERROR_BYTES, "{}", bounded.len());
        assert!(bounded.starts_with("it failed") && bounded.ends_with(": do this"), "{bounded}");
    }

    #[test]
    fn a_list_of_ids_names_the_first_ones_and_counts_the_others() {
        let ids = |number: usize, bytes: usize| -> Vec<String> {
            (0..number).map(|index| format!("{index:0bytes$}")).collect()
        };
        assert_eq!(listed(&ids(2, 3)), "`000`, `001`");
        assert_eq!(listed(&ids(10, 1)).matches('`').count(), 20);
        let many = listed(&ids(3_000, 3));
        assert!(many.starts_with("`000`, ") && many.ends_with(", `009` and 2990 more"), "{many}");
        let long = listed(&ids(3_000, 500));
        assert!(long.len() < 1_100 && long.ends_with(" and 2999 more"), "{long}");
    }

    #[test]
    fn every_place_of_a_text_is_replaced() {
        assert_eq!(replaced("ab-ab-ü", "ab", "c"), "c-c-ü");
        assert_eq!(replaced("aaa", "aa", "b"), "ba", "from the left");
        assert_eq!(replaced("abc", "abcd", ""), "abc");
        assert_eq!(replaced("abc", "", "x"), "abc", "an empty text has no place");
    }

    proptest! {
        #[test]
        fn any_text_is_bounded(text in any::<String>(), times in 0_usize..2_000) {
            let text = text.repeat(times / text.len().max(1) + 1);
            prop_assert!(bounded(without_stacks(text.clone())).len() <= MAX_ERROR_BYTES);
            prop_assert!(shortened(text).len() <= MAX_REASON_BYTES);
        }
    }
}
