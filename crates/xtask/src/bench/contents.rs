//! What a WebAssembly file consists of: code by crate, and what is no code.

mod function;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use function::crate_of;

/// What is smaller than that, in bytes, is not listed by itself.
const LISTED: i64 = 500;

/// What `with` has more than `without`, in bytes: by crate, and by section for what is no code. In descending order;
/// what is small comes last, together, as `others`.
///
/// Both need the names of functions, whose section does not count: the numbers add up to what the files differ by
/// without it. Code that the compiler inlined counts for the crate of the function that it is in now; so most of a
/// future is where it is polled first, and what `worker::send::SendFuture` wraps is `worker`'s.
pub(crate) fn added(without: &Path, with: &Path) -> Result<Vec<(String, i64)>> {
    Ok(list(&difference(&of_file(without)?, &of_file(with)?)))
}

/// Bytes by crate or section.
type Contents = BTreeMap<String, i64>;

fn of_file(file: &Path) -> Result<Contents> {
    let read = || contents(&fs::read(file)?);
    read().with_context(|| format!("cannot read {}", file.display()))
}

fn contents(wasm: &[u8]) -> Result<Contents> {
    let mut contents = Contents::new();
    let mut add = |part: &str, bytes: u64| -> Result<()> {
        *contents.entry(part.to_owned()).or_default() += i64::try_from(bytes)?;
        Ok(())
    };
    let (mut imported, mut bodies, mut names) = (0, Vec::new(), HashMap::new());
    // Up to where everything is counted. What stands before a part says how long that is, and counts with it.
    let mut counted = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::CodeSectionEntry(body) => {
                bodies.push(body.range().end - counted);
                counted = body.range().end;
                continue;
            }
            // Its functions follow: here it is but the head.
            Payload::CodeSectionStart { unchecked_range, .. } => {
                add("other sections", unchecked_range.start - counted)?;
                counted = unchecked_range.start;
                continue;
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(sections) = section.as_known() {
                    for section in sections {
                        let Name::Function(map) = section? else { continue };
                        for naming in map {
                            let naming = naming?;
                            names.insert(naming.index, naming.name);
                        }
                    }
                    counted = section.range().end;
                    continue;
                }
            }
            _ => {}
        }
        let Some(end) = end(&payload) else { continue };
        add(section(&payload), end - counted)?;
        counted = end;
    }
    for (index, bytes) in (imported..).zip(bodies) {
        add(names.get(&index).map_or(function::UNKNOWN, |name| crate_of(name)), bytes)?;
    }
    Ok(contents)
}

/// Where what is not code ends; none for the end of the file.
fn end(payload: &Payload<'_>) -> Option<u64> {
    match payload {
        Payload::Version { range, .. } => Some(range.end),
        payload => payload.as_section().map(|(_, range)| range.end),
    }
}

fn section(payload: &Payload<'_>) -> &'static str {
    match payload {
        Payload::TypeSection(_) => "type section",
        Payload::ImportSection(_) => "import section",
        Payload::ExportSection(_) => "export section",
        Payload::DataSection(_) => "data section",
        _ => "other sections",
    }
}

fn difference(without: &Contents, with: &Contents) -> Contents {
    let mut difference = with.clone();
    for (part, bytes) in without {
        *difference.entry(part.clone()).or_default() -= bytes;
    }
    difference
}

fn list(contents: &Contents) -> Vec<(String, i64)> {
    let (mut listed, others): (Vec<_>, Vec<_>) =
        contents.clone().into_iter().partition(|(_, bytes)| bytes.abs() >= LISTED);
    listed.sort_by_key(|(_, bytes)| -bytes);
    if !others.is_empty() {
        listed.push(("others".to_owned(), others.iter().map(|(_, bytes)| bytes).sum()));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section, whose contents are short.
    fn section(id: u8, contents: &[u8]) -> Vec<u8> {
        [&[id, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    fn text(text: &str) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }

    /// One function is imported, two are defined: the first 2 and the second 6 bytes long.
    fn module() -> Vec<u8> {
        let import = [&[1][..], &text("a"), &text("b"), &[0, 0]].concat();
        let bodies = [2, /**/ 2, 0, 0x0b, /**/ 6, 0, 1, 1, 1, 1, 0x0b];
        let named = [&[2, 1][..], &text("std::one"), &[2], &text("<my::Two as std::T>::f")].concat();
        let names = [&text("name")[..], &[1, u8::try_from(named.len()).unwrap()], &named].concat();
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, &[1, 0x60, 0, 0]),
            section(2, &import),
            section(3, &[2, 0, 0]),
            section(10, &bodies),
            section(0, &names),
        ]
        .concat()
    }

    #[test]
    fn every_byte_but_those_of_names_is_counted_once() {
        let counted = contents(&module()).unwrap();
        // With the lengths in front of them, and the first with the number of functions.
        assert_eq!((counted["std"], counted["my"]), (4, 7));
        assert_eq!((counted["type section"], counted["import section"]), (6, 9));
        // The head of the file, which functions have which type, and the head of the code.
        assert_eq!(counted["other sections"], 8 + 5 + 2);
        let names = 2 + 5 + 2 + 1 + 1 + 9 + 1 + 23;
        assert_eq!(usize::try_from(counted.values().sum::<i64>()).unwrap(), module().len() - names);
    }

    #[test]
    fn what_is_added_is_in_descending_order_with_the_small_together() {
        let contents = |parts: &[(&str, i64)]| -> Contents {
            parts.iter().map(|(part, bytes)| ((*part).to_owned(), *bytes)).collect()
        };
        let without = contents(&[("core", 5_000), ("alloc", 1_000), ("http", 100)]);
        let with = contents(&[("core", 4_000), ("alloc", 1_300), ("my", 700), ("data section", 900)]);
        let added = list(&difference(&without, &with));
        let expected = [("data section", 900), ("my", 700), ("core", -1_000), ("others", 200)];
        assert_eq!(added, expected.map(|(part, bytes)| (part.to_owned(), bytes)));
    }
}
