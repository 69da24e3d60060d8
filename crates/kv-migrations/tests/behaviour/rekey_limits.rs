//! More entries of one kind than a re-key's checkpoint keeps by name, of which there are at most a thousand.

use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::StoreExt;
use kv_migrations::{Collisions, Rekey, Runner};

use crate::rekey::{error, keys, migration, users};
use crate::service::{InitialEntry, Service};

/// Users `user_0000` and so on, this many.
fn thousand_and(more: usize) -> Service {
    let entry = |n| InitialEntry::new(format!("user_{n:04}"), "x");
    let entries: Vec<InitialEntry> = (0..1_000 + more).map(entry).collect();
    Service::holding(&entries, 900)
}

fn runner(service: &Service, rekey: Rekey) -> Runner {
    service.runner(vec![migration(rekey)])
}

/// Requests until there is a new key for each of these users.
fn copy(service: &Service, runner: &Runner, users: usize) {
    while keys(service).iter().filter(|key| key.starts_with("user:")).count() < users {
        let report = block_on(runner.run_pending(&())).unwrap();
        service.clock.advance(report.retry_after.unwrap().min(Duration::from_secs(1)));
    }
}

/// Requests until it waits.
fn until_wait(service: &Service, runner: &Runner) {
    let is_waiting = || {
        let report = service.request(runner).expect("it does not fail");
        report.progress.is_some_and(|it| it.phase.name() == "wait")
    };
    assert!((0..100).any(|_| is_waiting()), "it never waits");
}

/// Writes each of these users under its key with this prefix.
fn write(service: &Service, prefix: &str, users: std::ops::Range<usize>, value: &str) {
    for n in users {
        service.store.insert(&format!("{prefix}{n:04}"), value);
    }
}

/// The number of users for which both keys hold the same.
fn alike(service: &Service, users: std::ops::Range<usize>) -> usize {
    let is_alike = |n: &usize| service.text(&format!("user:{n:04}")) == service.text(&format!("user_{n:04}"));
    users.filter(is_alike).count()
}

#[test]
fn copying_again_a_thousand_entries_leaves_room_for_one_that_differs() {
    let service = thousand_and(1);
    let runner = runner(&service, users().copying());
    copy(&service, &runner, 1_001);
    write(&service, "user_", 0..1_000, "written under the old key alone");
    write(&service, "user_", 1_000..1_001, "seen later");
    write(&service, "user:", 1_000..1_001, "another value");
    until_wait(&service, &runner);
    until_wait(&service, &runner);
    // Now KV shows the service's last write under both keys.
    write(&service, "user:", 1_000..1_001, "seen later");
    service.drive(&runner).unwrap();
    assert_eq!(alike(&service, 0..1_001), 1_001);
}

#[test]
fn a_rekey_that_met_too_many_other_entries_at_new_keys_looks_at_all_of_them_once_more() {
    for rekey in [users, || users().copying()] {
        let service = thousand_and(10);
        let runner = runner(&service, rekey());
        copy(&service, &runner, 1_010);
        write(&service, "user_", 0..1_010, "one");
        write(&service, "user:", 0..1_010, "another");
        let error = service.drive(&runner).unwrap_err().to_string();
        assert!(error.contains("more than 1000 entries have something else at their new keys"), "{error}");
        assert_eq!(keys(&service).len(), 2_020, "nothing is deleted");

        write(&service, "user:", 0..1_009, "one");
        let error = service.drive(&runner).unwrap_err().to_string();
        assert!(
            error.contains("`user_1009` would get the key `user:1009`"),
            "one is left to fail for: {error}"
        );
        write(&service, "user:", 1_009..1_010, "one");
        service.drive(&runner).expect("they are the same now");
        assert!((0..1_010).all(|n| service.text(&format!("user:{n:04}")).as_deref() == Some("one")));
    }
}

#[test]
fn deleting_that_met_too_many_missing_entries_looks_at_all_of_them_once_more() {
    let service = thousand_and(10);
    write(&service, "user:", 0..1_010, "x");
    let runner = runner(&service, users().deleting());
    service.request(&runner).unwrap();
    for n in 0..1_005 {
        block_on(service.store.delete(&format!("user:{n:04}"))).unwrap();
    }
    let error = service.drive(&runner).unwrap_err().to_string();
    assert!(error.contains("more than 1000 entries have nothing at their new keys"), "{error}");

    write(&service, "user:", 0..1_004, "copied");
    let report = service.drive(&runner).expect("only one is missing now").pop().unwrap();
    assert_eq!(report.details[0].failed_entries.len(), 1, "it is left");
    assert_eq!(service.text("user_1004").as_deref(), Some("x"));
    assert_eq!(keys(&service).len(), 1_010);
}

#[test]
fn copying_forgets_a_thousand_entries_that_have_their_new_keys_when_it_looks_again() {
    let service = thousand_and(0);
    let runner = runner(&service, users().copying());
    copy(&service, &runner, 1_000);
    until_wait(&service, &runner);
    until_wait(&service, &runner);
    // The copies are verified. A release that writes old keys alone adds others, which the check finds.
    write(&service, "user_", 1_000..2_100, "late");
    until_wait(&service, &runner);
    write(&service, "user:", 1_000..2_100, "late");
    service.drive(&runner).expect("the service has copied them itself");
    assert_eq!(alike(&service, 0..2_100), 2_100);
}

#[test]
fn a_rekey_that_would_leave_too_many_entries_names_the_reset_as_the_way_out() {
    let service = thousand_and(10);
    write(&service, "user:", 0..1_010, "x");
    let rekey = || users().with_collisions(Collisions::Skip).deleting();
    write(&service, "user_", 0..1_010, "another");
    let first = error(&service, rekey());
    assert!(first.contains("more than 1000 entries would stay at their old keys"), "{first}");
    assert!(first.contains("POST /migrations/{id}/reset"), "{first}");
    assert_eq!(error(&service, rekey()), first, "the next run passes none of them over");
    assert_eq!(keys(&service).len(), 2_020);

    write(&service, "user_", 0..1_010, "x");
    block_on(runner(&service, rekey()).reset("long")).unwrap();
    service.drive(&runner(&service, rekey())).unwrap();
    assert_eq!(keys(&service).len(), 1_010);
}
