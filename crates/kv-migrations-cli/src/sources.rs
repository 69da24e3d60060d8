//! The sources of a service, as far as they say which migrations it registers: `migrations/mod.rs` and the files beside it.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Where a service has its migrations, unless it says otherwise.
pub(crate) const DIRECTORY: &str = "src/migrations";

/// The directory of the migrations.
pub(crate) struct Sources(PathBuf);

impl Sources {
    /// The directory, if there is a list in it.
    pub(crate) fn find(directory: &Path) -> Option<Self> {
        let sources = Self(directory.to_path_buf());
        sources.list_file().exists().then_some(sources)
    }

    pub(crate) fn list_file(&self) -> PathBuf {
        self.0.join("mod.rs")
    }

    pub(crate) fn file(&self, module: &str) -> PathBuf {
        self.0.join(module).with_added_extension("rs")
    }

    pub(crate) fn read_list(&self) -> Result<String, Failure> {
        read(&self.list_file())
    }

    /// The id of the migration that is registered last. None if there is none.
    pub(crate) fn last_id(&self) -> Result<Option<String>, Failure> {
        let list = self.read_list()?;
        let shown = self.list_file().display().to_string();
        let registered =
            listed(&list).ok_or_else(|| Failure::usage(format!("{shown} has no list `migrations![…]`")))?;
        let Some(last) = modules(&list, registered).pop() else { return Ok(None) };
        let flat = self.file(last);
        let file = if flat.exists() { flat } else { self.0.join(last).join("mod.rs") };
        let id = id(&read(&file)?).map(str::to_owned);
        let missing =
            || Failure::usage(format!("{} has no line `pub const ID: &str = \"…\";`", file.display()));
        id.ok_or_else(missing).map(Some)
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}

/// Where the items of `migrations![…]` stand: between its brackets.
pub(crate) fn listed(list: &str) -> Option<Range<usize>> {
    const OPENING: &str = "migrations![";
    let mut from = 0;
    let start = loop {
        let found = from + list.get(from..)?.find(OPENING)?;
        let line = list.get(..found)?.rsplit('\n').next()?;
        from = found + OPENING.len();
        if !line.contains("//") {
            break from;
        }
    };
    let mut depth = 1_u32;
    for (position, byte) in list.bytes().enumerate().skip(start) {
        depth = match byte {
            b'[' => depth + 1,
            b']' => depth - 1,
            _ => depth,
        };
        if depth == 0 {
            return Some(start..position);
        }
    }
    None
}

/// The modules of these items: of `m001_a, m002_b(argument)` both names.
pub(crate) fn modules(list: &str, items: Range<usize>) -> Vec<&str> {
    let text = list.get(items).unwrap_or_default();
    let mut depth = 0_u32;
    let mut modules = Vec::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        for (position, part) in line.split_inclusive([',', '(', ')', '[', ']', '{', '}']).enumerate() {
            let name = part.trim_end_matches([',', '(', ')', '[', ']', '{', '}']).trim();
            let is_item = depth == 0 && !name.is_empty() && (position == 0 || name.chars().all(is_of_name));
            if is_item {
                modules.push(name);
            }
            depth = match part.chars().last() {
                Some('(' | '[' | '{') => depth + 1,
                Some(')' | ']' | '}') => depth.saturating_sub(1),
                _ => depth,
            };
        }
    }
    modules.retain(|name| name.chars().all(is_of_name));
    modules
}

fn is_of_name(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// The value of the constant `ID`.
fn id(source: &str) -> Option<&str> {
    let line = source
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("pub") && line.contains("const ID: &str = \""))?;
    let (_, value) = line.split_once("= \"")?;
    let value = value.strip_suffix("\";")?;
    (!value.contains(['"', '\\'])).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_whatever_its_form() {
        let read = |list| listed(list).map(|items| modules(list, items));
        assert_eq!(read("kv_migrations::migrations![m001_a, m002_b]"), Some(vec!["m001_a", "m002_b"]));
        assert_eq!(
            read("    migrations![\n  m001_a,\n  m002_b(first[0], (1, 2)), // m003_c\n  m004_d,\n]"),
            Some(vec!["m001_a", "m002_b", "m004_d"])
        );
        assert_eq!(read("// migrations![m000_no]\nmigrations![]"), Some(vec![]));
        assert_eq!(read("vec![m001_a::migration()]"), None);
        assert_eq!(read("migrations![m001_a"), None);
    }

    #[test]
    fn the_id_is_a_plain_constant() {
        assert_eq!(id("use a;\n\npub const ID: &str = \"001_a\";\n"), Some("001_a"));
        assert_eq!(id("    pub(crate) const ID: &str = \"a/b ü\";"), Some("a/b ü"));
        assert_eq!(id("// const ID: &str = \"001\";\npub const ID: &str = concat!(\"0\");"), None);
        assert_eq!(id("pub const ID: &str = \"a\\\"b\";"), None, "nobody guesses");
    }
}
