//! What a run writes to its log, whatever visitors and migrations choose.

use futures::executor::block_on;
use kv_migrations::{Backfill, Migration};

use crate::service::Service;

const FORGED: &str = "user_x\n[Migration] ✓ Completed 002_forged\u{1b}[2J\u{202e}";

fn lines(service: &Service, migration: Migration) -> Vec<String> {
    block_on(service.runner(vec![migration]).run_pending(&())).expect_err("it is to fail");
    let lines = service.log.lines();
    for line in &lines {
        assert!(!line.contains(|character: char| character.is_control()), "{line:?}");
        assert!(!line.contains('\u{202e}'), "{line:?}");
    }
    lines
}

#[test]
fn a_key_that_a_visitor_chose_cannot_forge_a_line_of_the_log() {
    let service = Service::new();
    service.store.insert(FORGED, "");
    let up = Backfill::new("user_", async |_, _, ()| Err("boom".into()));
    let lines = lines(&service, Migration::backfill("001_users", "", up));
    assert_eq!(lines.len(), 2, "it begins and fails: {lines:?}");
    let expected = "user_x\\u{a}[Migration] ✓ Completed 002_forged\\u{1b}[2J\\u{202e}";
    assert!(lines[1].contains(expected), "the line still says which key it was: {}", lines[1]);
}

#[test]
fn neither_can_an_error_or_a_description() {
    let service = Service::new();
    let migration = Migration::new("001_a", FORGED, async |_, ()| Err(FORGED.into()));
    let lines = lines(&service, migration);
    assert_eq!(lines.len(), 2, "it begins and fails: {lines:?}");
}
