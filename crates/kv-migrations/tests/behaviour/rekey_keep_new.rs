//! What stands at a new key already wins.

use futures::executor::block_on;
use kv_migrations::kv::StoreExt;
use kv_migrations::{Collisions, Migration, Rekey};

use crate::rekey::{drive, error, keys, migration, users};
use crate::rekey_several::finish;
use crate::service::{InitialEntry, Service, holding, left};

fn keep_new() -> Rekey {
    users().with_collisions(Collisions::KeepNew)
}

#[test]
fn what_stands_at_the_new_key_wins_and_the_old_key_is_deleted() {
    let service = holding(&[
        ("user:1", "new"),
        ("user_1", "old"),
        ("user_2", "alone"),
        ("user_3", "same"),
        ("user:3", "same"),
    ]);
    assert_eq!(finish(&service, keep_new()), []);
    assert_eq!(keys(&service), ["user:1", "user:2", "user:3"]);
    assert_eq!(service.text("user:1").as_deref(), Some("new"));
}

#[test]
fn an_old_key_that_gives_way_is_deleted_only_after_a_second_look_later_than_kvs_delay() {
    let service = holding(&[("user:1", "new"), ("user_1", "old")]);
    let runner = service.runner(vec![migration(keep_new())]);
    let first = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(first.retry_after.map(|wait| wait.as_secs()), Some(90));
    assert_eq!(keys(&service), ["user:1", "user_1"]);
    block_on(service.store.delete("user:1")).unwrap();
    service.clock.advance(first.retry_after.unwrap());
    let left = left(service.drive(&runner).unwrap());
    assert_eq!(keys(&service), ["user_1"], "the entry would be nowhere");
    assert_eq!(
        left,
        [(
            "user_1".to_owned(),
            "was left: it was to give way to what was at its new key `user:1`, which is gone".to_owned()
        )]
    );
}

#[test]
fn more_entries_than_a_report_lists_may_give_way() {
    let mut entries = Vec::new();
    for number in 0..1_500 {
        entries.push(InitialEntry::new(format!("user_{number:04}"), "old"));
        entries.push(InitialEntry::new(format!("user:{number:04}"), "new"));
    }
    let service = Service::holding(&entries, 900);
    assert_eq!(finish(&service, keep_new()), []);
    assert_eq!(keys(&service).len(), 1_500);
    assert_eq!(service.text("user:0700").as_deref(), Some("new"));
}

#[test]
fn what_appears_at_a_new_key_after_the_survey_does_not_win_unseen() {
    let service = holding(&[("user_1", "old"), ("user_2", "x")]);
    let runner = service.runner(vec![migration(keep_new())]);
    service.request(&runner).unwrap();
    service.store.insert("user_3", "written under its old key");
    service.store.insert("user:3", "and, later, something else under the new one");
    let left = left(service.drive(&runner).unwrap());
    assert_eq!(keys(&service), ["user:1", "user:2", "user:3", "user_3"]);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn copying_leaves_both_keys_where_the_new_one_is_kept_and_deleting_deletes_the_old_one() {
    let service = holding(&[("user:1", "new"), ("user_1", "old"), ("user_2", "x")]);
    drive(&service, keep_new().copying()).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"]);
    assert_eq!(service.text("user:1").as_deref(), Some("new"));
    let deleting = Migration::rekey("deleting", "", keep_new().deleting());
    service.migrate(vec![deleting]);
    assert_eq!(keys(&service), ["user:1", "user:2"]);
}

#[test]
fn two_old_keys_with_one_free_new_key_still_fail_where_the_new_one_is_kept() {
    let service = holding(&[("user_A", "1"), ("user_a", "2")]);
    let rekey = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()));
    let error = error(&service, rekey.with_collisions(Collisions::KeepNew));
    assert!(
        error.contains("`user_a` would get the key `user:a`, which another entry gets as well"),
        "{error}"
    );
    assert_eq!(keys(&service), ["user_A", "user_a"]);
}

#[test]
fn in_a_rollback_what_stands_at_the_old_key_wins() {
    let service = holding(&[("user_1", "x"), ("user_2", "y")]);
    let runner = service.runner(vec![migration(keep_new())]);
    service.drive(&runner).unwrap();
    service.store.insert("user_1", "written again");
    service.roll_back(&runner).unwrap();
    assert_eq!(keys(&service), ["user_1", "user_2"]);
    assert_eq!(service.text("user_1").as_deref(), Some("written again"));
}
