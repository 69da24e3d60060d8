//! Migrations of another namespace than the service's own, named by its binding.

use std::time::Duration;

use kv_migrations::{Backfill, Migration, Rekey};
use kv_migrations_routes::Namespace;
use worker::Env;

/// Copies all entries of a namespace.
pub fn copied_from(binding: String) -> Vec<Migration<Env>> {
    let copied = Backfill::new("", async |kv, record, _: &Env| {
        Ok(kv.put(record.name(), record.value()).with_options_of(record.key()).await?)
    });
    let copied = copied.read_singly().in_namespace(Namespace::from(binding));
    vec![Migration::backfill("001_copied", "Copies all from another namespace", copied)]
}

/// Moves all entries out of a namespace.
pub fn moved_from(binding: String) -> Vec<Migration<Env>> {
    moved(Rekey::prefix("", "").in_namespace(Namespace::from(binding)))
}

/// Moves all entries into a namespace.
pub fn moved_into(binding: String) -> Vec<Migration<Env>> {
    moved(Rekey::prefix("", "").into_namespace(Namespace::from(binding)))
}

fn moved(rekey: Rekey) -> Vec<Migration<Env>> {
    let rekey = rekey.with_visibility_delay(Duration::ZERO);
    vec![Migration::rekey("001_moved", "Moves all between two namespaces", rekey)]
}
