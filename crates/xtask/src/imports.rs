//! Which file of a crate imports which: there may be no circle of files, and in the core no import up its stack.
//!
//! An import through a re-export is one of the file that defines the name. Declaring a module is no import.

mod graph;
mod source;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::console::heading;
use crate::workspace::Workspace;
use graph::{Import, circles, imports};

/// The modules of `kv-migrations` from top to bottom: each may import only those below it. `testing` is on top, because it
/// may use all others and only tests use it.
const CORE_STACK: [&str; 19] = [
    "testing",
    "coordinator",
    "runner",
    "migration",
    "change",
    "session",
    "dry_run",
    "ledger",
    "error",
    "id",
    "kv",
    "lock",
    "budget",
    "clock",
    "report",
    "log",
    "random",
    "future",
    "text",
];

/// Modules of the core that may import, and be imported by, any other.
const OUTSIDE: [&str; 2] = ["lib", "sabotage"];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    heading("imports");
    let mut wrong = BTreeSet::new();
    for directory in workspace.shell()?.read_dir("crates")? {
        let name = directory.file_name().unwrap_or_default().display().to_string();
        let sources = directory.join("src");
        for root in ["lib.rs", "main.rs"].into_iter().filter(|root| sources.join(root).exists()) {
            let modules = source::read(root, &|file| fs::read_to_string(sources.join(file)).ok());
            let imports = imports(&modules.with_context(|| format!("in {}", sources.display()))?);
            let up = imports.iter().filter(|_| name == "kv-migrations").filter_map(up_the_stack);
            let found = circles(&imports).into_iter().chain(up);
            wrong.extend(found.map(|problem| format!("crates/{name}: {problem}")));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} imports or circles are not allowed: move what is shared below those that use it\n{}",
        wrong.len(),
        Vec::from_iter(wrong).join("\n")
    );
    Ok(())
}

/// What is wrong with an import of the core.
fn up_the_stack(import: &Import) -> Option<String> {
    let (from, to) = (layer(&import.from), layer(&import.to));
    if from == to || OUTSIDE.contains(&from) || OUTSIDE.contains(&to) {
        return None;
    }
    let place = |name| CORE_STACK.iter().position(|layer| *layer == name);
    let Some(below) = place(from).and_then(|place| CORE_STACK.get(place + 1..)) else {
        return Some(format!("`{from}` is not in the stack: give it a place in CORE_STACK"));
    };
    (!below.contains(&to)).then(|| format!("{import}\n  `{from}` may import only: {}", below.join(", ")))
}

/// The `kv` of `kv.rs` and of `kv/entry.rs`.
fn layer(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of a crate of these files.
    fn of(files: &[(&str, &str)]) -> Vec<Import> {
        let source =
            |file: &str| files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned());
        imports(&source::read("lib.rs", &source).unwrap())
    }

    fn shown(files: &[(&str, &str)]) -> Vec<String> {
        of(files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_of_the_file_that_defines_it() {
        let files = [
            ("lib.rs", "mod a; mod kv; pub use kv::Entry;"),
            (
                "a.rs",
                "use crate::{kv::{self, Store as S}, Entry}; fn f() { kv::open(); self::g() } fn g() {}",
            ),
            (
                "kv.rs",
                "mod entry; mod store; pub use {entry::Entry, store::open}; pub(crate) use store::Store;",
            ),
            ("kv/entry.rs", "use super::Store; use serde; fn f(_: serde::A) {} pub struct Entry(Store);"),
            ("kv/store.rs", "pub struct Store; pub fn open() {}"),
        ];
        assert_eq!(
            shown(&files),
            [
                "src/a.rs imports src/kv.rs: crate::kv",
                "src/a.rs imports src/kv/entry.rs: crate::Entry",
                "src/a.rs imports src/kv/store.rs: crate::kv::Store, kv::open",
                "src/kv.rs imports src/kv/entry.rs: entry::Entry",
                "src/kv.rs imports src/kv/store.rs: store::Store, store::open",
                "src/kv/entry.rs imports src/kv/store.rs: super::Store",
                "src/lib.rs imports src/kv/entry.rs: kv::Entry",
            ]
        );
        assert!(circles(&of(&files)).is_empty());
    }

    #[test]
    fn declaring_a_module_and_testing_it_are_no_imports() {
        let files = [
            ("lib.rs", "mod a; mod b; pub struct Root;"),
            ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] mod more;"),
            ("b.rs", "pub(in crate::a) use crate::a::A; impl A { #[cfg(test)] fn f(_: crate::Root) {} }"),
        ];
        assert_eq!(shown(&files), ["src/b.rs imports src/a.rs: crate::a::A"]);
    }

    #[test]
    fn paths_in_macros_count_and_an_exported_macro_is_of_its_file() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", r#"fn f() { assert!(matches!(x, crate::b::B), "{}", [self.x]); crate::make!(); }"#),
            ("b.rs", "pub struct B; #[macro_export] macro_rules! make { () => { $crate::a::f() } }"),
        ];
        assert_eq!(shown(&files), ["src/a.rs imports src/b.rs: crate::b::B, crate::make"]);
    }

    #[test]
    fn a_child_that_uses_what_its_parent_defines_is_in_a_circle_with_it() {
        let files = [
            ("lib.rs", "mod run; mod a; mod b;"),
            ("run.rs", "mod step; pub struct Run; fn f() { step::go() }"),
            ("run/step.rs", "pub fn go() { let _: super::Run; }"),
            ("a.rs", "use crate::b::*; use crate::run;"),
            ("b.rs", "fn f() { use super::a; }"),
        ];
        assert_eq!(
            circles(&of(&files)),
            [
                "2 files import each other in a circle:\n  \
                 src/a.rs imports src/b.rs: crate::b\n  src/b.rs imports src/a.rs: super::a",
                "2 files import each other in a circle:\n  \
                 src/run.rs imports src/run/step.rs: step::go\n  src/run/step.rs imports src/run.rs: super::Run",
            ]
        );
    }

    #[test]
    fn imports_of_the_core_run_down_the_stack() {
        let files = [
            ("lib.rs", "mod kv; mod ledger; mod log; mod testing; mod new; pub use ledger::Ledger;"),
            ("kv.rs", "mod memory;"),
            ("kv/memory.rs", "use crate::Ledger; use crate::log::Log;"),
            ("ledger.rs", "use crate::kv::memory; use crate::testing::Fault; pub struct Ledger;"),
            ("log.rs", ""),
            ("testing.rs", "use crate::kv::memory; pub struct Fault;"),
            ("new.rs", "use crate::log;"),
        ];
        let wrong: Vec<_> = of(&files).iter().filter_map(up_the_stack).collect();
        assert_eq!(
            wrong,
            [
                "src/kv/memory.rs imports src/ledger.rs: crate::Ledger\n  \
                 `kv` may import only: lock, budget, clock, report, log, random, future, text",
                "src/ledger.rs imports src/testing.rs: crate::testing::Fault\n  \
                 `ledger` may import only: error, id, kv, lock, budget, clock, report, log, random, future, text",
                "`new` is not in the stack: give it a place in CORE_STACK",
            ]
        );
    }
}
