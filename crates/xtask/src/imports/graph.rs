//! Which file imports which, and which import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::{Modules, Name};

/// A file uses names that another one defines.
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    /// The paths by which it names them.
    paths: BTreeSet<String>,
}

/// Every import between two files, in alphabetical order.
pub(super) fn imports(modules: &Modules) -> Vec<Import> {
    let mut imports: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for (at, module) in modules {
        for path in &module.used {
            if let Some(file) = defining_file(modules, at, path, 0).filter(|file| *file != module.file) {
                imports.entry((module.file.as_str(), file)).or_default().insert(path.join("::"));
            }
        }
    }
    let import = |((from, to), paths): ((&str, &str), _)| Import { from: from.into(), to: to.into(), paths };
    imports.into_iter().map(import).collect()
}

/// The file that defines what a path names, seen from a module. For a name of another crate it is the module's own.
fn defining_file<'a>(modules: &'a Modules, from: &[String], path: &[String], depth: u8) -> Option<&'a str> {
    let mut at = from.to_vec();
    for (index, name) in path.iter().enumerate() {
        match name.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            name => match modules.get(&at)?.names.get(name) {
                Some(Name::Module) => at.push(name.to_owned()),
                // `use serde;` names itself, again and again.
                Some(Name::Import(import)) if depth < 16 => {
                    let path = [import, path.get(index + 1..)?].concat();
                    return defining_file(modules, &at, &path, depth + 1);
                }
                _ => break,
            },
        }
    }
    Some(&modules.get(&at)?.file)
}

/// Describes every circle: its files, and what each imports of the others.
pub(super) fn circles(imports: &[Import]) -> Vec<String> {
    let files: BTreeSet<&str> = imports.iter().map(|import| import.from.as_str()).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for file in files.into_iter().filter(|file| reachable(file, imports).contains(file)) {
        if !found.iter().any(|circle| circle.contains(file)) {
            let returns = |other: &&str| reachable(other, imports).contains(file);
            found.push(reachable(file, imports).into_iter().filter(returns).collect());
        }
    }
    let describe = |circle: BTreeSet<&str>| {
        let within = |import: &&Import| circle.contains(&*import.from) && circle.contains(&*import.to);
        let lines: Vec<_> = imports.iter().filter(within).map(ToString::to_string).collect();
        format!("{} files import each other in a circle:\n  {}", circle.len(), lines.join("\n  "))
    };
    found.into_iter().map(describe).collect()
}

/// What a file imports, what that imports, and so on.
fn reachable<'a>(file: &'a str, imports: &'a [Import]) -> BTreeSet<&'a str> {
    let (mut reached, mut pending) = (BTreeSet::new(), vec![file]);
    while let Some(file) = pending.pop() {
        let imported = imports.iter().filter(|import| import.from == file).map(|import| import.to.as_str());
        pending.extend(imported.filter(|imported| reached.insert(*imported)));
    }
    reached
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.paths.iter().map(String::as_str).collect();
        write!(f, "src/{} imports src/{}: {}", self.from, self.to, paths.join(", "))
    }
}
