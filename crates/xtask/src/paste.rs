//! The Worker that a reader of docs/start.md has after pasting its code from top to bottom, and then that of the other pages.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::console::progress;
use crate::tools::{WASM_TARGET, WorkerToolchain};
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

/// Where it is made, below the checkout: `tests/workerd/pasted.test.mjs` runs it there.
const DIRECTORY: &str = "target/pasted";
const LIST: &str = "src/migrations/mod.rs";
const START: &str = "docs/start.md";
/// The handler of that page, and that of the axum template of workers-rs with the ending that the page names.
const TEMPLATE: [(&str, &str); 3] = [
    ("Result<impl IntoResponse>", "Result<axum::http::Response<axum::body::Body>>"),
    (".await?)", ".await?.map(axum::body::Body::new))"),
    ("IntoResponse, ", ""),
];

/// Builds the Worker of the first page. Checks it with the migrations of all pages too, and with the handler of the template.
pub(crate) fn build(workspace: &Workspace, toolchain: &WorkerToolchain) -> Result<()> {
    let shell = workspace.shell()?;
    let start = shell.read_file(START)?;
    let mut pages = shell.read_dir("docs")?;
    pages
        .retain(|page| !page.ends_with(START) && page.extension().is_some_and(|extension| extension == "md"));
    let pages: Vec<String> = pages.iter().map(|page| shell.read_file(page)).collect::<Result<_, _>>()?;
    let directory = workspace.root.join(DIRECTORY);
    shell.remove_path(&directory)?;
    shell.change_dir(&directory);

    shell.write_file("Cargo.toml", package(workspace, &start)?)?;
    // With what is compiled already.
    shell.copy_file(workspace.root.join("Cargo.lock"), "Cargo.lock")?;
    shell.write_file(".cargo/config.toml", "build.target-dir = '..'\n")?;
    paste(&shell, &start)?;
    Worker { name: format!("the Worker of {START}"), directory }.build(workspace, toolchain, Profile::Dev)?;

    progress("checking the migrations of all pages beside it, and the handler of axum's template");
    for page in &pages {
        add_dependencies(&shell, page)?;
        paste(&shell, page)?;
    }
    let mut handler = shell.read_file("src/lib.rs")?;
    for (own, template) in TEMPLATE {
        ensure!(handler.contains(own), "the handler in {START} has no `{own}`");
        handler = handler.replace(own, template);
    }
    shell.write_file("src/lib.rs", handler)?;
    let platform = WASM_TARGET.name;
    cmd!(shell, "cargo check --quiet --target {platform}").quiet().run()?;
    Ok(())
}

/// The package with what the first page adds to it, and with the crates of this checkout.
fn package(workspace: &Workspace, start: &str) -> Result<String> {
    let added = blocks(start).find(|(language, code)| *language == "toml" && code.contains("[dependencies]"));
    let (_, added) = added.with_context(|| format!("{START} has no block of toml with `[dependencies]`"))?;
    let crates = workspace.root.join("crates");
    Ok(format!(
        "[package]\nname = \"pasted\"\nedition = \"2024\"\n\n[workspace]\n\n{added}\n[patch.crates-io]\n\
         kv-migrations = {{ path = '{crates}/kv-migrations' }}\n\
         kv-migrations-routes = {{ path = '{crates}/kv-migrations-routes' }}\n",
        crates = crates.display()
    ))
}

/// Adds the dependencies that a document asks for later. One replaces that of the same name.
fn add_dependencies(shell: &Shell, document: &str) -> Result<()> {
    const SECTION: &str = "[dependencies]\n";
    let mut package = shell.read_file("Cargo.toml")?;
    for (language, code) in blocks(document) {
        let Some(added) = code.strip_prefix(SECTION).filter(|_| language == "toml") else { continue };
        for line in added.lines() {
            let (name, _) = line.split_once(" = ").with_context(|| format!("`{line}` is no dependency"))?;
            let kept = |old: &&str| !old.starts_with(&format!("{name} = "));
            package = package.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
            package = package.replacen(SECTION, &format!("{SECTION}{line}\n"), 1);
        }
    }
    Ok(shell.write_file("Cargo.toml", package)?)
}

/// Writes each block that begins with the name of its file, and adds new migrations to the list.
fn paste(shell: &Shell, document: &str) -> Result<()> {
    let mut modules = Vec::new();
    for (_, code) in blocks(document) {
        let Some(file) = code.lines().next().and_then(|line| line.strip_prefix("// src/")) else { continue };
        shell.write_file(Path::new("src").join(file), code)?;
        modules.extend(file.strip_prefix("migrations/").and_then(|name| name.strip_suffix(".rs")));
    }
    let mut list = shell.read_file(LIST)?;
    for module in modules.into_iter().filter(|module| *module != "mod") {
        if !list.contains(&format!("mod {module};")) {
            list = list.replacen("\nmod ", &format!("\nmod {module};\nmod "), 1).replacen(
                ']',
                &format!(", {module}]"),
                1,
            );
        }
    }
    Ok(shell.write_file(LIST, list)?)
}

/// The fenced blocks of a document: their language and their text.
fn blocks(document: &str) -> impl Iterator<Item = (&str, &str)> {
    let fenced = document.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n'))
}
