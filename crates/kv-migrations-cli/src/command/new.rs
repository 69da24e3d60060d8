//! `kv-migrations new`: writes the next migration, and adds it to the list.

mod list;
mod template;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::sources::{DIRECTORY, Sources};
use template::Kind;

/// Write the next migration with a test, and add it to the list in `mod.rs`
///
/// Without a kind, it is a closure that runs in one request.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("kind"))]
pub(crate) struct Args {
    /// What it does, in a word or a few: `verified`, `add-index`. The number before it is the next one
    name: String,
    /// Make it a backfill: it changes every entry of a prefix, over many requests
    #[arg(long, group = "kind")]
    backfill: bool,
    /// Make it a fold: it gathers something from all entries of a prefix, and writes it
    #[arg(long, group = "kind")]
    fold: bool,
    /// Make it a re-key: it moves entries to new keys
    #[arg(long, group = "kind")]
    rekey: bool,
    /// Where the migrations of the service are
    #[arg(long, value_name = "DIRECTORY", default_value = DIRECTORY)]
    migrations: PathBuf,
}

impl Args {
    fn kind(&self) -> Kind {
        match self {
            Self { backfill: true, .. } => Kind::Backfill,
            Self { fold: true, .. } => Kind::Fold,
            Self { rekey: true, .. } => Kind::Rekey,
            _ => Kind::Plain,
        }
    }
}

pub(crate) fn run(args: &Args, output: &mut dyn Output) -> Result<Exit, Failure> {
    let directory = &args.migrations;
    let sources = Sources::find(directory).ok_or_else(|| {
        let file = directory.join("mod.rs");
        Failure::usage(format!("there is no {}", file.display())).with_help(
            "Run it in the directory of the service, or name the one of the migrations by `--migrations`.",
        )
    })?;
    let list = sources.read_list()?;
    let id = list::next_id(&list, &args.name)?;
    let module = format!("m{id}");
    let new_list = list::with(&list, &module).ok_or_else(|| {
        Failure::usage(format!("{} has no list `migrations![…]`", sources.list_file().display()))
    })?;

    let file = sources.file(&module);
    create(&file, &template::source(args.kind(), &id))?;
    if let Err(failure) = overwrite(&sources.list_file(), &new_list) {
        // Without its place in the list, the file alone would be in the way of the next try.
        let _ = fs::remove_file(&file);
        return Err(failure);
    }
    if !tests_have_tools(directory) {
        output.note("its test needs the test tools: cargo add --dev kv-migrations --features testing");
    }
    let text = format!("wrote {}, and added it to {}", file.display(), sources.list_file().display());
    let json =
        json!({ "outcome": "done", "exitCode": 0, "id": id, "file": file, "list": sources.list_file() });
    output.result(&text, &json);
    Ok(Exit::Done)
}

/// Writes a file that is not there yet.
fn create(file: &Path, text: &str) -> Result<(), Failure> {
    let written = File::create_new(file).and_then(|mut created| created.write_all(text.as_bytes()));
    written.map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))
}

fn overwrite(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))
}

/// Whether the package has the feature by which tests run in virtual time. Where nobody knows, it does.
fn tests_have_tools(directory: &Path) -> bool {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let package = directory.ancestors().find_map(|parent| fs::read_to_string(parent.join("Cargo.toml")).ok());
    package.is_none_or(|package| package.contains("\"testing\""))
}
