//! `cargo xtask book`: the documents as a book of HTML pages, by mdBook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use crate::console::progress;
use crate::documents::markdown::links;
use crate::documents::pages::{self, SUMMARY, target};
use crate::tools::CargoTool;
use crate::workspace::Workspace;

/// Where it is made, below the checkout. mdBook copies whatever is beside the pages, so they get a directory for themselves.
const DIRECTORY: &str = "target/book";
const PAGES: &str = "pages";
const HTML: &str = "html";

/// Builds the book, and checks that its links lead somewhere.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let directory = workspace.root.join(DIRECTORY);
    shell.remove_path(&directory)?;
    copy_pages(workspace, &shell, &directory.join(PAGES))?;
    shell.copy_file(workspace.root.join("docs/book.toml"), directory.join("book.toml"))?;

    let mermaid = CargoTool::mdbook_mermaid();
    mermaid.command(workspace, &shell)?.arg("install").arg(&directory).ignore_stderr().run()?;
    progress("building the book");
    let path = workspace.path_with(&mermaid.directory(workspace))?;
    let html = directory.join(HTML);
    let build = CargoTool::mdbook().command(workspace, &shell)?.arg("build").arg(&directory);
    build.env("PATH", path).env("MDBOOK_LOG", "warn").run()?;
    check(&html)?;
    println!("{}", html.join("index.html").display());
    Ok(())
}

/// Copies the pages, with what they show, to where they are in the checkout. A link to anything else becomes its text.
fn copy_pages(workspace: &Workspace, shell: &Shell, to: &Path) -> Result<()> {
    let summary = shell.read_file(SUMMARY)?;
    let pages: BTreeSet<PathBuf> = pages::listed(&summary).into_iter().collect();
    let mut others = BTreeSet::new();
    for page in &pages {
        let text = shell.read_file(page)?;
        let mut copied = String::with_capacity(text.len());
        let mut place = 0;
        for link in links(&text) {
            let target = target(page, link.path);
            let is_shown = pages.contains(&target) || is_shown(&workspace.root.join(&target));
            if is_shown && !pages.contains(&target) {
                others.insert(target);
            }
            copied.push_str(&text[place..link.start]);
            copied.push_str(if is_shown { &text[link.start..link.end] } else { link.text });
            place = link.end;
        }
        copied.push_str(&text[place..]);
        shell.write_file(to.join(page), copied)?;
    }
    for other in others {
        let (from, to) = (workspace.root.join(&other), to.join(&other));
        shell.create_dir(to.parent().context("it has a directory")?)?;
        shell.copy_file(from, to)?;
    }
    // mdBook looks for it beside all pages.
    let from_root = |path: &str| target(Path::new(SUMMARY), path).display().to_string();
    let mut contents = summary.clone();
    for link in links(&summary).iter().rev() {
        contents.replace_range(link.start..link.end, &format!("[{}]({})", link.text, from_root(link.path)));
    }
    shell.write_file(to.join("SUMMARY.md"), contents)?;
    Ok(())
}

/// Whether a file is no page, and yet for readers.
fn is_shown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["svg", "json", "png"].iter().any(|shown| extension == *shown))
        && path.is_file()
}

/// Checks that each link of a page to another one leads to a file, and to a place that it has.
fn check(html: &Path) -> Result<()> {
    let mut pages = BTreeMap::new();
    collect(html, &mut pages)?;
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in attributes(text, "href") {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = target(page, path);
            if link.contains(':') || target.as_os_str().is_empty() {
                continue;
            }
            let is_there = match pages.get(&target) {
                Some(text) => anchor.is_empty() || attributes(text, "id").any(|id| id == anchor),
                None => html.join(&target).exists(),
            };
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "these links of the book lead nowhere:\n{}", broken.join("\n"));
    ensure!(pages.len() > 15, "the book has only {} pages", pages.len());
    Ok(())
}

/// The values of an attribute in HTML as mdBook writes it.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    html.match_indices(&start)
        .map(|(place, _)| place + start.len())
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|start| html.get(start..)?.split('"').next())
}

fn collect(root: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                pages.insert(path.strip_prefix(root)?.to_path_buf(), fs::read_to_string(&path)?);
            }
        }
    }
    // It is shown for addresses of any depth, so that its own links are those of the root.
    pages.remove(Path::new("404.html"));
    pages.remove(Path::new("print.html"));
    Ok(())
}
