//! Words that this project does not use, in what people read: documents, rustdoc, comments and messages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::pages;
use crate::console::heading;
use crate::workspace::Workspace;

/// Each with what is meant.
const AVOIDED: [(&str, &str); 9] = [
    ("so many", "this many"),
    ("whoever", "a caller who"),
    ("anew", "again"),
    ("none the worse", "unaffected"),
    ("that it has", "its own"),
    ("is told of", "receives"),
    ("made in one go", "runs in a single request"),
    ("as ever", "as before"),
    ("goes on by itself", "continues"),
];
/// The crates whose sources users read.
const PUBLISHED: [&str; 3] = ["kv-migrations", "kv-migrations-routes", "kv-migrations-cli"];

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    heading("words");
    let root = &workspace.root;
    let mut files = pages::all(root)?;
    for name in PUBLISHED {
        sources(root, &Path::new("crates").join(name).join("src"), &mut files)?;
    }
    let mut found = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(fs::read_to_string(root.join(&file))?.lines()) {
            found.extend(avoided(line).map(|(words, instead)| {
                format!("{}:{number}: `{words}`: write `{instead}`, or another sentence", file.display())
            }));
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

fn sources(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            sources(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The avoided words of a line. "That it has" before a verb is another word: only at the end of a clause is it meant.
fn avoided(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let line = line.to_lowercase();
    AVOIDED.into_iter().filter(move |(words, _)| {
        line.match_indices(words).any(|(place, _)| {
            let is_letter = |one: char| one.is_alphanumeric();
            let (before, after) = (&line[..place], &line[place + words.len()..]);
            let is_word = !before.ends_with(is_letter) && !after.starts_with(is_letter);
            is_word && (*words != "that it has" || !after.trim_start().starts_with(is_letter))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_words() {
        let count = |line| avoided(line).count();
        assert_eq!(count("It goes on by itself, so many times."), 2);
        assert_eq!(count("An entry that it has written; renewed."), 0);
        assert_eq!(count("Moves it with all that it has."), 1);
        assert_eq!(count("a new one, as every time"), 0);
    }
}
