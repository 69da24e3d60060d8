//! What a new migration looks like: a small one that works, with a test that passes, to be changed.

/// What its `up` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Backfill,
    Fold,
    Rekey,
}

/// The file of a migration with this id.
pub(super) fn source(kind: Kind, id: &str) -> String {
    let (template, asserts) = match kind {
        Kind::Plain => (PLAIN, r#"assert_eq!(after.value("example").unwrap(), b"1");"#),
        Kind::Backfill => (BACKFILL, r#"assert_eq!(after.value("example_1").unwrap(), b"ADA");"#),
        Kind::Fold => (FOLD, r##"assert_eq!(after.value("all_examples").unwrap(), br#"["ada","grace"]"#);"##),
        Kind::Rekey => (REKEY, r#"assert_eq!(after.value("example:1").unwrap(), b"ada");"#),
    };
    let entries = if kind == Kind::Plain { "" } else { ENTRIES };
    let text = [template, TEST].concat().replace("{entries}", entries).replace("{assert}", asserts);
    text.replace("{id}", id).replace("{description}", &description(id))
}

/// The name in words.
fn description(id: &str) -> String {
    let (_, name) = id.split_once('_').unwrap_or_default();
    let mut characters = name.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first
        .into_iter()
        .chain(characters.map(|character| if character == '_' { ' ' } else { character }))
        .collect()
}

/// Runs it to its end and back, and with a crash at each operation.
const TEST: &str = r#"
#[cfg(test)]
mod tests {
    use kv_migrations::kv::MemoryStore;
    use kv_migrations::testing::Harness;

    use super::*;

    #[test]
    fn it_goes_up_and_down_and_survives_a_crash_anywhere() {
        let store = MemoryStore::new();
{entries}        let harness = Harness::new(&store, "my-service", vec![migration()]);

        harness.crash_anywhere();
        harness.up_then_down();

        harness.migrate().unwrap();
        let after = harness.store();
        {assert}
    }
}
"#;

const ENTRIES: &str = r#"        store.insert("example_1", "ada");
        store.insert("example_2", "grace");
"#;

const PLAIN: &str = r#"use kv_migrations::Migration;

pub const ID: &str = "{id}";

pub fn migration<C: 'static>() -> Migration<C> {
    Migration::new(ID, "{description}", async |kv, _| {
        kv.put("example", "1").await?;
        Ok(())
    })
    .with_down(async |kv, _| {
        kv.delete("example").await?;
        Ok(())
    })
}
"#;

const BACKFILL: &str = r#"use kv_migrations::{Backfill, Migration};

pub const ID: &str = "{id}";

/// A crash can have an entry changed twice: what it becomes must not depend on how often.
pub fn migration<C: 'static>() -> Migration<C> {
    let up = Backfill::new("example_", async |_, record, _| {
        let name = record.text()?.to_uppercase();
        Ok(record.put(name).await?)
    });
    let down = Backfill::new("example_", async |_, record, _| {
        let name = record.text()?.to_lowercase();
        Ok(record.put(name).await?)
    });
    Migration::backfill(ID, "{description}", up).with_down_backfill(down)
}
"#;

const FOLD: &str = r#"use kv_migrations::{Fold, FoldOutput, Migration};

pub const ID: &str = "{id}";

pub fn migration<C: 'static>() -> Migration<C> {
    let names = Fold::new(
        "example_",
        Vec::new,
        |names: &mut Vec<String>, record, _: &C| {
            names.push(record.text()?.to_owned());
            Ok(())
        },
        |names, _| Ok(vec![FoldOutput::json("all_examples", names)?]),
    );
    Migration::fold(ID, "{description}", names).with_down(async |kv, _| {
        kv.delete("all_examples").await?;
        Ok(())
    })
}
"#;

const REKEY: &str = r#"use kv_migrations::{Migration, Rekey};

pub const ID: &str = "{id}";

/// It can be rolled back, since it says how an old key follows from a new one.
pub fn migration<C: 'static>() -> Migration<C> {
    Migration::rekey(ID, "{description}", Rekey::prefix("example_", "example:"))
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    /// That they compile and that their tests pass, `cargo xtask test` finds out.
    #[test]
    fn a_template_is_filled_in() {
        for kind in [Kind::Plain, Kind::Backfill, Kind::Fold, Kind::Rekey] {
            let source = source(kind, "004_add_index");
            assert!(source.contains("pub const ID: &str = \"004_add_index\";\n"), "{source}");
            assert!(source.contains("\"Add index\""), "{source}");
            let left = ["{entries}", "{assert}", "{id}", "{description}"];
            assert!(!left.iter().any(|name| source.contains(name)), "{source}");
        }
    }
}
