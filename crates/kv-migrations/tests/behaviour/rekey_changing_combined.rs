//! A re-key that changes entries on their way, with the other things that a re-key can be told.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::{PutOptions, StoreExt};
use kv_migrations::testing::{DelayedKv, Fault, faulty};
use kv_migrations::{BoxError, Collisions, Migration, MovingEntry, Rekey};

use crate::rekey::keys;
use crate::rekey_by_value;
use crate::rekey_changing::{contents, runner, seal, sealing};
use crate::service::{InitialEntry, Service, holding, holding_with, left};

/// Value and key, sealed: what `seal` makes of it, without its nonce.
fn sealed(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), format!("{key}/{value}").into_bytes())).collect()
}

fn plain(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

/// To lower case, sealed: the greatest value wins.
fn chosen() -> Rekey<()> {
    Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()))
        .choosing(|one, other| Ok(one.value().cmp(other.value())))
        .changing(seal)
}

fn keep_new() -> Rekey<()> {
    sealing().with_collisions(Collisions::KeepNew)
}

fn by_value() -> Rekey<()> {
    rekey_by_value::users().changing(seal)
}

async fn unchanged(entry: MovingEntry, _: &str, (): &()) -> Result<MovingEntry, BoxError> {
    Ok(entry)
}

const SOME: &[(&str, &str)] = &[("user_1", "a/x"), ("user_2", "b/y"), ("user_3", "a/z"), ("user:2", "new")];

/// A re-key, what there is before it, and what there is after it.
type Case = (fn() -> Rekey<()>, &'static [(&'static str, &'static str)], fn() -> BTreeMap<String, Vec<u8>>);

fn cases() -> Vec<Case> {
    let some = SOME;
    vec![
        (keep_new, some, || {
            let mut end = sealed(&[("user:1", "a/x"), ("user:3", "a/z")]);
            end.extend(plain(&[("user:2", "new")]));
            end
        }),
        (
            || by_value().with_collisions(Collisions::KeepNew),
            &[("user_1", "a/x"), ("user_2", "b/y"), ("user:b:2", "new")],
            || sealed(&[("user:a:1", "a/x")]).into_iter().chain(plain(&[("user:b:2", "new")])).collect(),
        ),
        (
            chosen,
            &[("user_A", "1"), ("user_a", "3"), ("user_B", "5"), ("user_b", "2"), ("user_c", "4")],
            || sealed(&[("user:a", "3"), ("user:b", "5"), ("user:c", "4")]),
        ),
        (
            || sealing().copying(),
            some,
            || {
                let mut end = sealed(&[("user:1", "a/x"), ("user:3", "a/z")]);
                end.extend(plain(SOME));
                end
            },
        ),
        (
            || by_value().copying(),
            &[("user_1", "a/x"), ("user_2", "none")],
            || {
                let mut end = sealed(&[("user:a:1", "a/x")]);
                end.extend(plain(&[("user_1", "a/x"), ("user_2", "none")]));
                end
            },
        ),
        (
            || sealing().deleting().copying_missing(),
            some,
            || {
                let mut end = sealed(&[("user:1", "a/x"), ("user:3", "a/z")]);
                end.extend(plain(&[("user:2", "new")]));
                end
            },
        ),
        (
            || by_value().deleting().copying_missing(),
            &[("user_1", "a/x"), ("user_2", "none")],
            || sealed(&[("user:a:1", "a/x")]).into_iter().chain(plain(&[("user_2", "none")])).collect(),
        ),
        (
            || Rekey::prefix("user_", "user:").changing(unchanged),
            &[("user_1", "a/x"), ("user_2", ""), ("user:2", "")],
            || plain(&[("user:1", "a/x"), ("user:2", "")]),
        ),
    ]
}

#[test]
fn each_combination_ends_alike_after_a_crash_anywhere() {
    for (number, (rekey, before, after)) in cases().into_iter().enumerate() {
        for operations in [900, 30] {
            let service = || holding_with(before, operations);
            let migration = || vec![Migration::rekey("long", "", rekey())];
            let faultless = service();
            faultless.drive(&faultless.runner(migration())).unwrap();
            assert_eq!(contents(&faultless), after(), "case {number}");
            for at in 0..=faultless.store.operations() {
                for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                    let service = service();
                    let _ =
                        service.drive(&service.runner_on(faulty(service.store.clone(), fault), migration()));
                    let reports = service
                        .drive(&service.runner(migration()))
                        .unwrap_or_else(|error| panic!("case {number}, {fault:?}: {error}"));
                    assert_eq!(contents(&service), after(), "case {number}, {fault:?}");
                    assert_eq!(left(reports), [], "case {number}, {fault:?}");
                }
            }
        }
    }
}

#[test]
fn keys_and_values_that_no_bulk_get_returns_exactly_are_changed_like_the_others() {
    let long = "k".repeat(512);
    let values: [(&str, &[u8]); 6] = [
        ("1", b"one"),
        ("42", b""),
        ("__proto__", b"prototype"),
        (&long, b"long"),
        ("no-utf-8", &[0xff, 0x00, 0xfe]),
        ("bom", "\u{FEFF}{}".as_bytes()),
    ];
    let entries: Vec<InitialEntry> =
        values.iter().map(|(key, value)| InitialEntry::new(*key, *value)).collect();
    let rekey = || {
        Rekey::new("", |key| {
            let is_old = !key.name.starts_with("n/");
            is_old.then(|| format!("n/{:.510}", key.name))
        })
        .changing(seal)
    };
    let expected: BTreeMap<String, Vec<u8>> = values
        .iter()
        .map(|(key, value)| {
            let new = format!("n/{key:.510}");
            (new.clone(), [format!("{new}/").as_bytes(), value].concat())
        })
        .collect();
    let faultless = Service::holding(&entries, 900);
    faultless.drive(&runner(&faultless, rekey())).unwrap();
    assert_eq!(contents(&faultless), expected);
    for at in 0..=faultless.store.operations() {
        let service = Service::holding(&entries, 900);
        let faulty = faulty(service.store.clone(), Fault::Crash(at));
        let _ = service.drive(&service.runner_on(faulty, vec![Migration::rekey("long", "", rekey())]));
        service
            .drive(&runner(&service, rekey()))
            .unwrap_or_else(|error| panic!("after a crash at {at}: {error}"));
        assert_eq!(contents(&service), expected, "after a crash at {at}");
    }
}

#[test]
fn a_copy_that_kv_does_not_take_is_named_and_once_mended_the_rekey_goes_on() {
    let service = holding(&[("user_1", "x"), ("user_2", "y"), ("user_3", "z")]);
    let too_much = Rekey::prefix("user_", "user:").changing(async |entry, new, ()| {
        let metadata = if new == "user:2" { "m".repeat(2_000) } else { new.to_owned() };
        entry.with_metadata(&metadata)
    });
    let error = service.drive(&runner(&service, too_much)).map(drop).unwrap_err().to_string();
    assert!(error.contains("at the entry `user_2`: KV put of `user:2` failed: 413 Metadata"), "{error}");
    assert!(!error.contains("mmm"), "metadata is nobody else's: {error}");
    for (old, value) in [("user_1", "x"), ("user_2", "y"), ("user_3", "z")] {
        assert_eq!(service.text(old).as_deref(), Some(value), "nothing is deleted");
    }
    assert_eq!(left(service.drive(&runner(&service, sealing())).unwrap()), []);
    assert_eq!(keys(&service), ["user:1", "user:2", "user:3"]);
    assert!(service.text("user:2").unwrap().ends_with("/user:2/y"), "by the mended change");
    assert_eq!(service.text("user:1").as_deref(), Some("x"), "it was copied before");
}

#[test]
fn an_entry_that_the_mended_change_refuses_stays_with_all_others_of_its_batch() {
    let service = holding(&[("user_1", "1"), ("user_2", "x"), ("user_3", "3")]);
    let changing = |refused: &'static str| {
        Rekey::prefix("user_", "user:").changing(async move |entry, _, ()| {
            if entry.value() == refused.as_bytes() {
                return Err(BoxError::from("cannot be changed"));
            }
            Ok(entry.with_value("changed"))
        })
    };
    for (refused, mended) in [("x", "x"), ("x", "2"), ("3", "2")] {
        let error = service.drive(&runner(&service, changing(refused))).map(drop).unwrap_err().to_string();
        assert!(error.contains("cannot be changed") && error.contains("at the entry `user_"), "{error}");
        for key in ["user_1", "user_2", "user_3"] {
            assert!(service.text(key).is_some(), "{key} is deleted, and not all are copied");
        }
        service.store.insert("user_2", mended);
    }
    service.drive(&runner(&service, changing("none"))).unwrap();
    let end = ["user:1", "user:2", "user:3"].map(|key| (key, "changed"));
    assert_eq!(contents(&service), plain(&end));
}

#[test]
fn a_copy_may_expire_90_seconds_later_and_an_entry_that_expires_sooner_stays() {
    let soon = InitialEntry { ttl: Some(80), ..InitialEntry::new("user_soon", "x") };
    let later = InitialEntry { ttl: Some(400), ..InitialEntry::new("user_later", "x") };
    let service = Service::holding(&[soon, later, InitialEntry::new("user_never", "x")], 900);
    let rekey = || {
        Rekey::prefix("user_", "user:").changing(async |entry, new, ()| {
            Ok(match new {
                "user:later" => entry.clear_expiration(),
                _ => entry.with_expiration_ttl(300),
            })
        })
    };
    let runner = runner(&service, rekey());
    let first = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(keys(&service), ["user:later", "user:never", "user_later", "user_never", "user_soon"]);
    service.clock.advance(first.retry_after.unwrap());
    assert_eq!(left(service.drive(&runner).unwrap()), []);
    let there = service.store.entries().into_iter().filter(|(key, _)| !key.name.starts_with("migration_"));
    let there: Vec<_> = there.map(|(key, _)| (key.name, key.expiration.is_some())).collect();
    assert_eq!(there, [("user:later".to_owned(), false), ("user:never".to_owned(), true)]);
}

/// A service elsewhere writes both keys of one entry after the other, and sees everything a minute late, as the re-key does.
#[test]
fn writes_to_both_keys_that_are_seen_a_minute_late_are_kept_where_copies_are_changed() {
    let entries: Vec<InitialEntry> =
        (0..8).map(|number| InitialEntry::new(format!("user_{number}"), "first")).collect();
    let service = Service::holding(&entries, 40);
    let upper = Rekey::prefix("user_", "user:").changing(async |entry, _, ()| {
        let value = entry.text()?.to_uppercase();
        Ok(entry.with_value(value))
    });
    let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), Duration::from_mins(1));
    let runner = service.runner_on(kv.at(0), vec![Migration::rekey("long", "", upper)]);
    let mut last = vec!["FIRST".to_owned(); 8];
    let mut is_finished = false;
    for step in 0..3_000 {
        service.clock.advance(Duration::from_secs(7));
        if step < 60 {
            let number = step * 7 % 8;
            let value = format!("written {step}");
            last[number] = value.to_uppercase();
            for (key, value) in
                [(format!("user_{number}"), &value), (format!("user:{number}"), &last[number])]
            {
                block_on(kv.at(1).put(&key, value.as_bytes(), &PutOptions::new())).unwrap();
            }
        }
        // A run may fail because entries change too fast; then the next one tries again.
        is_finished = block_on(runner.run_pending(&())).is_ok_and(|report| report.is_finished());
        if is_finished {
            break;
        }
    }
    assert!(is_finished, "it does not come to an end");
    let found: Vec<String> = (0..8).map(|n| service.text(&format!("user:{n}")).unwrap_or_default()).collect();
    assert_eq!(found, last);
    assert_eq!(keys(&service).len(), 8, "no old key is left");
}

#[test]
fn in_a_rollback_that_changes_back_what_stands_at_the_old_key_wins() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let runner = runner(&service, keep_new());
    service.drive(&runner).unwrap();
    service.store.insert("user_1", "written again");
    service.roll_back(&runner).unwrap();
    assert_eq!(contents(&service), plain(&[("user_1", "written again"), ("user_2", "Bob")]));
}
