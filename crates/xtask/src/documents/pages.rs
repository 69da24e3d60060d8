//! The Markdown files that people read, and the table of contents in `docs/SUMMARY.md`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::markdown::links;

pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";
/// Files of the checkout's root that are no pages of the book.
const CRATES: &str = "crates";

/// The Markdown files in `docs`, the README files and the changelogs, from the root of the checkout, in alphabetical order.
pub(crate) fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = vec![PathBuf::from("README.md")];
    collect(root, Path::new("docs"), &mut pages)?;
    for directory in fs::read_dir(root.join(CRATES))? {
        let directory = Path::new(CRATES).join(directory?.file_name());
        let named = ["README.md", "CHANGELOG.md"].map(|name| directory.join(name));
        pages.extend(named.into_iter().filter(|page| root.join(page).is_file()));
    }
    pages.sort();
    Ok(pages)
}

fn collect(root: &Path, directory: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    let listed = fs::read_dir(root.join(directory));
    for entry in listed.with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The pages that a table of contents lists, in order, from the root of the checkout.
pub(crate) fn listed(summary: &str) -> Vec<PathBuf> {
    links(summary).into_iter().map(|link| target(Path::new(SUMMARY), link.path)).collect()
}

/// Where a link on a page leads, from the root of the checkout.
pub(crate) fn target(page: &Path, path: &str) -> PathBuf {
    if path.is_empty() {
        return page.to_path_buf();
    }
    let mut target = page.parent().unwrap_or(page).to_path_buf();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => {
                target.pop();
            }
            Component::CurDir => {}
            other => target.push(other),
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::markdown::anchors;
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn read(page: &Path) -> String {
        fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
    }

    #[test]
    fn every_link_between_documents_leads_somewhere() {
        let pages = all(&root()).expect("it can be listed");
        assert!(pages.len() > 15, "{pages:?}");
        let texts: BTreeMap<_, _> = pages.into_iter().map(|page| (page.clone(), read(&page))).collect();
        let mut broken = Vec::new();
        for (page, text) in &texts {
            for link in links(text) {
                let target = target(page, link.path);
                let has_anchor =
                    |anchor| texts.get(&target).is_none_or(|text| anchors(text).contains(anchor));
                if !root().join(&target).exists() || !link.anchor.is_none_or(has_anchor) {
                    broken.push(format!("{}: {}", page.display(), &text[link.start..link.end]));
                }
            }
        }
        assert!(broken.is_empty(), "these links lead nowhere:\n{}", broken.join("\n"));
    }

    #[test]
    fn the_table_of_contents_lists_each_page_once() {
        let listed = listed(&read(Path::new(SUMMARY)));
        let unique: BTreeSet<PathBuf> = listed.iter().cloned().collect();
        assert_eq!(unique.len(), listed.len(), "a page is listed twice");
        // crates.io shows the README of each crate.
        let is_page = |page: &PathBuf| {
            page != Path::new(SUMMARY) && !(page.starts_with(CRATES) && page.ends_with("README.md"))
        };
        let expected: BTreeSet<PathBuf> =
            all(&root()).expect("it can be listed").into_iter().filter(is_page).collect();
        assert_eq!(unique, expected, "left: {SUMMARY}; right: the files");
    }

    #[test]
    fn a_link_leads_from_the_page_that_has_it() {
        let page = Path::new("docs/reference/http.md");
        for (path, expected) in [
            ("", "docs/reference/http.md"),
            ("format.md", "docs/reference/format.md"),
            ("../start.md", "docs/start.md"),
            ("../../README.md", "README.md"),
        ] {
            assert_eq!(target(page, path), Path::new(expected), "{path}");
        }
    }
}
