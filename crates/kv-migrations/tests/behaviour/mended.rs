//! A fold or a re-key that is changed while it is under way.

use futures::executor::block_on;
use kv_migrations::kv::StoreExt;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Fold, FoldOutput, Migration, Rekey};

use crate::rekey::{keys, migration};
use crate::service::{InitialEntry, Service};

/// A fold without entries that writes this.
fn writing(outputs: impl Fn() -> Vec<FoldOutput> + Send + Sync + 'static) -> Vec<Migration> {
    let fold = Fold::new("none_", || (), |(), _, ()| Ok(()), move |(), ()| Ok(outputs()));
    vec![Migration::fold("long", "", fold)]
}

/// Outputs `{prefix}00` and so on, each with the prefix as its value.
fn numbered(prefix: &'static str, number: usize) -> impl Fn() -> Vec<FoldOutput> + Send + Sync + 'static {
    move || (0..number).map(|n| FoldOutput::new(format!("{prefix}{n:02}"), prefix)).collect()
}

/// The 31st key is too long.
fn one_too_long() -> Vec<FoldOutput> {
    let mut outputs = numbered("index_", 30)();
    outputs.push(FoldOutput::new(format!("index_z{}", "z".repeat(510)), "index_"));
    outputs
}

fn with_prefix(service: &Service, prefix: &str) -> usize {
    keys(service).iter().filter(|key| key.starts_with(prefix)).count()
}

#[test]
fn a_fold_that_failed_at_an_output_and_is_mended_writes_all_outputs_and_leaves_no_others() {
    let service = Service::new();
    let error = service.drive(&service.runner(writing(one_too_long))).unwrap_err().to_string();
    assert!(error.contains("exceeds key length limit"), "{error}");
    assert_eq!(with_prefix(&service, "index_"), 30);

    service.drive(&service.runner(writing(numbered("by_town_", 31)))).unwrap();
    assert_eq!(with_prefix(&service, "by_town_"), 31, "every output is written");
    assert_eq!(with_prefix(&service, "index_"), 0, "nothing is left of the earlier outputs");
}

#[test]
fn a_fold_that_is_mended_while_it_is_paused_writes_all_outputs_and_leaves_no_others() {
    let service = Service::holding(&[], 50);
    let report = service.request(&service.runner(writing(numbered("wrong_", 100)))).unwrap();
    assert!(!report.is_finished() && with_prefix(&service, "wrong_") > 30, "it is paused while it writes");

    service.drive(&service.runner(writing(numbered("right_", 100)))).unwrap();
    assert_eq!((with_prefix(&service, "right_"), with_prefix(&service, "wrong_")), (100, 0));
}

#[test]
fn a_mended_fold_writes_what_has_the_same_key_and_another_value() {
    let service = Service::holding(&[], 50);
    let same_key = |value: &'static str| {
        writing(move || (0..100).map(|n| FoldOutput::new(format!("index_{n:02}"), value)).collect())
    };
    service.request(&service.runner(same_key("wrong"))).unwrap();
    service.drive(&service.runner(same_key("right"))).unwrap();
    let entries = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("index_"));
    assert!(entries.map(|(_, value)| value).eq(vec![b"right".to_vec(); 100]));
}

#[test]
fn a_mended_fold_writes_what_differs_in_its_metadata_alone() {
    let service = Service::holding(&[], 50);
    let with_metadata = |metadata: u32| {
        let output = move |n| FoldOutput::new(format!("index_{n:02}"), "x").with_metadata(&metadata).unwrap();
        writing(move || (0..100).map(output).collect())
    };
    service.request(&service.runner(with_metadata(1))).unwrap();
    service.drive(&service.runner(with_metadata(2))).unwrap();
    let entries = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("index_"));
    assert!(entries.map(|(key, _)| key.metadata.unwrap().as_json().to_owned()).all(|json| json == "2"));
}

#[test]
fn a_mended_fold_deletes_only_what_still_holds_what_it_wrote() {
    let service = Service::holding(&[], 50);
    service.store.insert("wrong_99", "was there before, and was not written yet");
    service.request(&service.runner(writing(numbered("wrong_", 100)))).unwrap();
    service.store.insert("wrong_00", "written by the service");
    service.put("wrong_01", "wrong_", Some("1"));

    service.drive(&service.runner(writing(numbered("right_", 100)))).unwrap();
    let mut left = keys(&service);
    left.retain(|key| key.starts_with("wrong_"));
    assert_eq!(left, ["wrong_00", "wrong_01", "wrong_99"]);
}

#[test]
fn a_mended_fold_deletes_what_it_wrote_with_metadata_that_it_kept() {
    let service = Service::holding(&[], 50);
    service.put("wrong_00", "there before", Some("1"));
    service.put("wrong_40", "there before, and not written yet", Some("1"));
    let keeping = || numbered("wrong_", 100)().into_iter().map(FoldOutput::keep_metadata).collect::<Vec<_>>();
    service.request(&service.runner(writing(keeping))).unwrap();
    assert_eq!(service.text("wrong_00").as_deref(), Some("wrong_"));

    service.drive(&service.runner(writing(numbered("right_", 100)))).unwrap();
    assert_eq!(with_prefix(&service, "right_"), 100);
    let mut left = keys(&service);
    left.retain(|key| key.starts_with("wrong_"));
    assert_eq!(left, ["wrong_40"]);
}

#[test]
fn a_mended_fold_writes_what_differs_in_its_expiration_alone_and_what_it_deleted() {
    let service = Service::holding(&[], 50);
    let each = |output: fn(String) -> FoldOutput| {
        writing(move || (0..100).map(|n| output(format!("index_{n:02}"))).collect())
    };
    service.request(&service.runner(each(|key| FoldOutput::new(key, "")))).unwrap();
    service.request(&service.runner(each(FoldOutput::delete))).unwrap();
    service.drive(&service.runner(each(|key| FoldOutput::new(key, "").with_expiration_ttl(9_000)))).unwrap();
    let entries = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("index_"));
    assert_eq!(entries.filter(|(key, _)| key.expiration.is_some()).count(), 100);
}

#[test]
fn a_mended_fold_that_is_cut_off_anywhere_is_continued() {
    let paused = || {
        let service = Service::holding(&[], 20);
        service.request(&service.runner(writing(numbered("wrong_", 30)))).unwrap();
        service
    };
    let mended = || writing(numbered("right_", 30));
    let faultless = paused();
    let before = faultless.store.operations();
    faultless.drive(&faultless.runner(mended())).unwrap();
    let needed = faultless.store.operations() - before;
    let expected = faultless.outcome();
    for at in 0..=needed {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = paused();
            let _ = service.drive(&service.runner_on(faulty(service.store.clone(), fault), mended()));
            service.drive(&service.runner(mended())).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!(service.outcome(), expected, "{fault:?}");
        }
    }
}

#[test]
fn a_fold_that_closes_differently_each_time_fails_at_the_third_difference() {
    let service = Service::holding(&[], 50);
    let outputs = |attempt: usize| {
        writing(move || {
            (0..100).map(|n| FoldOutput::new(format!("index_{n:02}"), attempt.to_string())).collect()
        })
    };
    for attempt in 0..3 {
        service.request(&service.runner(outputs(attempt))).unwrap();
    }
    for attempt in 3..6 {
        let error = service.drive(&service.runner(outputs(attempt))).unwrap_err().to_string();
        assert!(error.contains("must return the same for the same state"), "{attempt}: {error}");
    }
    service.drive(&service.runner(outputs(5))).expect("once it returns the same as before, it is written");
    assert_eq!(service.text("index_99").as_deref(), Some("5"));
}

#[test]
fn a_fold_that_has_written_ten_thousand_keys_cannot_be_changed_any_more() {
    let outputs = |value: &'static str| {
        writing(move || (0..12_000).map(|n| FoldOutput::new(format!("index_{n:05}"), value)).collect())
    };
    let service = Service::holding(&[], 10_500);
    service.request(&service.runner(outputs("one"))).unwrap();
    let written = with_prefix(&service, "index_");
    assert!(written > 10_000, "{written}");
    let error = service.drive(&service.runner(outputs("two"))).unwrap_err().to_string();
    assert!(
        error.contains(
            "Restore the earlier version, and migrate again. Or reset it to start over: POST /migrations/long/reset"
        ),
        "{error}"
    );
    assert_eq!(with_prefix(&service, "index_"), written, "nothing was written");
    service.drive(&service.runner(outputs("one"))).expect("the earlier version goes on");
    assert_eq!(with_prefix(&service, "index_"), 12_000);
}

/// Outputs of which the 9,997th has a key that is too long, and this many follow it.
fn one_too_long_and(more: usize) -> impl Fn() -> Vec<FoldOutput> + Send + Sync + 'static {
    move || {
        let mut outputs: Vec<_> =
            (0..9_996 + more).map(|n| FoldOutput::new(format!("index_{n:05}"), "one")).collect();
        outputs.push(FoldOutput::new(format!("index_09995{}", "z".repeat(510)), "one"));
        outputs
    }
}

#[test]
fn a_fold_that_wrote_the_last_keys_it_remembers_beside_a_failure_leaves_none_behind() {
    for (more, is_refused) in [(4, false), (5, true)] {
        let service = Service::holding(&[], 50_000);
        service.request(&service.runner(writing(one_too_long_and(more)))).unwrap_err();
        assert_eq!(
            with_prefix(&service, "index_"),
            9_996 + more,
            "what was sent beside the failure is written"
        );

        let result = service.drive(&service.runner(writing(numbered("by_town_", 3))));
        assert_eq!(result.is_err(), is_refused, "{more}: {:?}", result.err());
        let expected = if is_refused { (9_996 + more, 0) } else { (0, 3) };
        assert_eq!((with_prefix(&service, "index_"), with_prefix(&service, "by_town_")), expected, "{more}");
    }
}

/// A re-key of `user_` to keys with this prefix.
fn rekey_to(prefix: &'static str) -> Vec<Migration> {
    let mapping = move |key: &kv_migrations::kv::Key| {
        let rest = key.name.strip_prefix("user_")?;
        Some(format!("{prefix}{rest}"))
    };
    vec![migration(Rekey::new("user_", mapping))]
}

/// Like `rekey_to("user:")`, and moves the last entry elsewhere.
fn last_elsewhere() -> Vec<Migration> {
    let mapping = |key: &kv_migrations::kv::Key| {
        let rest = key.name.strip_prefix("user_")?;
        Some(if rest == "99" { "last:99".to_owned() } else { format!("user:{rest}") })
    };
    vec![migration(Rekey::new("user_", mapping))]
}

fn hundred_users(operations: u64) -> Service {
    let entries: Vec<InitialEntry> =
        (0..100).map(|n| InitialEntry::new(format!("user_{n:02}"), "x")).collect();
    Service::holding(&entries, operations)
}

/// Requests until there are this many copies.
fn copy_until(
    service: &Service,
    migrations: fn(&'static str) -> Vec<Migration>,
    prefix: &'static str,
    copies: usize,
) {
    let runner = service.runner(migrations(prefix));
    while with_prefix(service, prefix) < copies {
        let report = block_on(runner.run_pending(&())).unwrap();
        let wait = report.retry_after.unwrap();
        service.clock.advance(wait.min(std::time::Duration::from_secs(1)));
    }
}

#[test]
fn a_rekey_whose_mapping_is_mended_while_it_copies_is_refused_with_the_stray_copies() {
    let service = hundred_users(60);
    copy_until(&service, rekey_to, "wrong:", 40);
    let copies = with_prefix(&service, "wrong:");
    assert!(copies < 100, "{copies}");

    let error = service.drive(&service.runner(rekey_to("user:"))).unwrap_err().to_string();
    assert!(
        error.contains(&format!("the mapping has changed since {copies} entries were copied")),
        "{error}"
    );
    assert!(error.contains("`user_00` was copied to `wrong:00` and would now get `user:00`"), "{error}");
    assert!(error.contains(&format!("and {} more", copies - 20)), "{error}");
    assert_eq!(
        (with_prefix(&service, "user_"), with_prefix(&service, "wrong:"), with_prefix(&service, "user:")),
        (100, copies, 0),
        "nothing was deleted, and nothing more was copied"
    );

    service.drive(&service.runner(rekey_to("wrong:"))).expect("with the earlier mapping it goes on");
    assert_eq!((with_prefix(&service, "user_"), with_prefix(&service, "wrong:")), (0, 100));
}

#[test]
fn a_rekey_that_was_refused_starts_over_once_the_copies_and_the_marker_are_deleted() {
    let service = hundred_users(60);
    copy_until(&service, rekey_to, "wrong:", 40);
    service.drive(&service.runner(rekey_to("user:"))).unwrap_err();
    for key in keys(&service).iter().filter(|key| key.starts_with("wrong:")) {
        block_on(service.store.delete(key)).unwrap();
    }
    block_on(service.store.delete("migration_my-service_long")).unwrap();
    service.drive(&service.runner(rekey_to("user:"))).unwrap();
    assert_eq!((with_prefix(&service, "user:"), keys(&service).len()), (100, 100));
}

#[test]
fn a_mapping_that_has_changed_for_one_entry_is_refused_before_any_is_deleted() {
    let service = hundred_users(900);
    copy_until(&service, rekey_to, "user:", 100);
    let error = service.drive(&service.runner(last_elsewhere())).unwrap_err().to_string();
    assert!(error.contains("`user_99` was copied to `user:99` and would now get `last:99`"), "{error}");
    assert_eq!((with_prefix(&service, "user_"), with_prefix(&service, "user:")), (100, 100));
    assert_eq!(with_prefix(&service, "last:"), 0);
}

#[test]
fn a_mapping_that_lets_a_copied_entry_stay_is_refused() {
    let service = hundred_users(900);
    copy_until(&service, rekey_to, "user:", 100);
    let none = vec![migration(Rekey::new("user_", |_| None))];
    let error = service.drive(&service.runner(none)).unwrap_err().to_string();
    assert!(error.contains("`user_00` was copied to `user:00` and would now stay; "), "{error}");
    assert_eq!((with_prefix(&service, "user_"), with_prefix(&service, "user:")), (100, 100));
}

#[test]
fn a_mapping_that_changes_while_old_keys_are_deleted_is_refused_at_the_entry() {
    let service = hundred_users(60);
    copy_until(&service, rekey_to, "user:", 100);
    let runner = service.runner(rekey_to("user:"));
    while with_prefix(&service, "user_") == 100 {
        service.request(&runner).unwrap();
    }
    let error = service.drive(&service.runner(last_elsewhere())).unwrap_err().to_string();
    assert!(error.contains("`user_99` was copied to `user:99` and would now get `last:99`"), "{error}");
    assert!(service.text("user_99").is_some() && service.text("last:99").is_none());
    service.drive(&runner).expect("with the earlier mapping it goes on");
    assert_eq!((with_prefix(&service, "user:"), keys(&service).len()), (100, 100));
}

#[test]
fn an_entry_whose_new_key_changes_with_its_metadata_is_refused_and_named() {
    let by_town = || {
        vec![migration(Rekey::new("user_", |key| {
            let town: String = key.metadata.as_ref()?.parse().ok()?;
            Some(format!("town:{town}:{}", key.name))
        }))]
    };
    let service = Service::new();
    service.put("user_1", "Ada", Some(r#""Ulm""#));
    service.request(&service.runner(by_town())).unwrap();
    service.put("user_1", "Ada", Some(r#""Bonn""#));
    let error = service.drive(&service.runner(by_town())).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` was copied to `town:Ulm:user_1` and would now get `town:Bonn:user_1`"),
        "{error}"
    );
    assert_eq!(keys(&service), ["town:Ulm:user_1", "user_1"]);
}
