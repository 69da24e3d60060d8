//! The list in `migrations/mod.rs`, with one migration more.

use std::fmt::Write as _;

use crate::exit::Failure;
use crate::sources::{listed, modules};

/// The digits of the first number.
const DIGITS: usize = 3;

/// The next number, and the name in the form of a module.
pub(super) fn next_id(list: &str, name: &str) -> Result<String, Failure> {
    let is_word = |character: char| character.is_ascii_alphanumeric();
    if let Some(other) = name.chars().find(|character| !is_word(*character) && !" -_".contains(*character)) {
        return Err(Failure::usage(format!(
            "a name has letters from a to z, digits, `-` and `_`, and no `{other}`"
        )));
    }
    let words = name.split(|character| !is_word(character)).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
    if name.is_empty() {
        return Err(Failure::usage("the name is empty"));
    }
    let registered = listed(list).map(|items| modules(list, items)).unwrap_or_default();
    let digits = registered.iter().filter_map(|module| {
        let digits = module.trim_start_matches(|character: char| !character.is_ascii_digit());
        digits.split(|character: char| !character.is_ascii_digit()).next().filter(|digits| !digits.is_empty())
    });
    let numbers = digits.clone().filter_map(|digits| digits.parse::<u64>().ok());
    let next = numbers.max().unwrap_or_default().saturating_add(1);
    let width = digits.map(str::len).max().unwrap_or(DIGITS);
    Ok(format!("{next:0width$}_{name}"))
}

/// The list with this module at its end. None if there is no list.
pub(super) fn with(list: &str, module: &str) -> Option<String> {
    let items = listed(list)?;
    let (before, rest) = (list.get(..items.start)?, list.get(items.end..)?);
    let between = with_item(list.get(items)?, module);
    Some(format!("{}{between}{rest}", with_declaration(before, module)))
}

/// The items with one more, in the form that they have.
fn with_item(items: &str, module: &str) -> String {
    let written = items.trim_end();
    if written.is_empty() {
        return module.to_owned();
    }
    let end = items.get(written.len()..).unwrap_or_default();
    // A comment at the end would hide what comes after it on the same line.
    let last = written.lines().last().unwrap_or_default();
    if items.contains('\n') {
        let indent = last.len() - last.trim_start().len();
        let comma = if last.contains("//") || written.ends_with(',') { "" } else { "," };
        format!("{written}{comma}\n{}{module},{end}", " ".repeat(indent))
    } else {
        let comma = if written.ends_with(',') { " " } else { ", " };
        format!("{written}{comma}{module}{end}")
    }
}

/// Declares the module after the last one that is declared.
fn with_declaration(before: &str, module: &str) -> String {
    let is_declaration = |line: &str| {
        let line = line.trim_end();
        ["mod ", "pub mod ", "pub(crate) mod "].iter().any(|start| line.starts_with(start))
            && line.ends_with(';')
    };
    let mut text = String::with_capacity(before.len() + module.len() + 8);
    let last = before.split_inclusive('\n').enumerate().filter(|(_, line)| is_declaration(line)).last();
    for (number, line) in before.split_inclusive('\n').enumerate() {
        if last.is_none() && number == first_item(before) {
            let _ = writeln!(text, "mod {module};\n");
        }
        text.push_str(line);
        if let Some((_, declaration)) = last.filter(|(of, _)| *of == number) {
            let visibility = declaration.split("mod ").next().unwrap_or_default();
            let _ = writeln!(text, "{visibility}mod {module};");
        }
    }
    text
}

/// The line after the documentation of the file.
fn first_item(text: &str) -> usize {
    text.lines().take_while(|line| line.starts_with("//!") || line.trim().is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICKSTART: &str = "\
//! The migrations of this service.

mod m001_add_feature;
mod m002_with_args;

use kv_migrations::Migration;

pub fn migrations() -> Vec<Migration<Env>> {
    kv_migrations::migrations![m001_add_feature, m002_with_args]
}
";

    fn next(list: &str, name: &str) -> Option<String> {
        next_id(list, name).ok()
    }

    #[test]
    fn the_next_number_comes_before_the_name() {
        let list = |items: &str| format!("fn f() {{ kv_migrations::migrations![{items}] }}");
        assert_eq!(next(&list("m001_a, m002_b"), "Add-Index now").as_deref(), Some("003_add_index_now"));
        assert_eq!(next(&list(""), "a").as_deref(), Some("001_a"));
        assert_eq!(next(&list("m0009_a(x)"), "a").as_deref(), Some("0010_a"));
        assert_eq!(next(&list("m2026_11_28_a"), "a").as_deref(), Some("2027_a"));
        assert_eq!(next(&list("first"), "2nd").as_deref(), Some("001_2nd"));
        for name in ["", "-", "grüße", "a/b", "a::b"] {
            assert_eq!(next(&list(""), name), None, "{name}");
        }
    }

    #[test]
    fn it_stands_at_the_end_of_the_list_and_is_declared() {
        let list = with(QUICKSTART, "m003_new").unwrap();
        assert!(
            list.contains("\nmod m001_add_feature;\nmod m002_with_args;\nmod m003_new;\n\nuse "),
            "{list}"
        );
        assert!(list.contains("migrations![m001_add_feature, m002_with_args, m003_new]\n"), "{list}");
    }

    #[test]
    fn the_list_keeps_its_form() {
        let table = [
            ("migrations![]", "mod m1;\n\nmigrations![m1]"),
            ("//! Docs.\n\nuse a;\nmigrations![ ]", "//! Docs.\n\nmod m1;\n\nuse a;\nmigrations![m1]"),
            (
                "mod a;\nmigrations![\n    a,\n    b(1), // a comment\n]",
                "mod a;\nmod m1;\nmigrations![\n    a,\n    b(1), // a comment\n    m1,\n]",
            ),
            (
                "pub(crate) mod a;\nmigrations![a,]",
                "pub(crate) mod a;\npub(crate) mod m1;\nmigrations![a, m1]",
            ),
            ("mod a;\nmigrations![\n  a\n]", "mod a;\nmod m1;\nmigrations![\n  a,\n  m1,\n]"),
        ];
        for (before, after) in table {
            assert_eq!(with(before, "m1").as_deref(), Some(after));
        }
        assert_eq!(with("vec![a::migration()]", "m1"), None);
    }
}
