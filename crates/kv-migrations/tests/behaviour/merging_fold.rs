//! A fold whose closing step reads other keys: it adds to what is there, and deletes what is stale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::executor::block_on;
use kv_migrations::kv::{Key, Kv, KvErrorKind, Request, StoreExt};
use kv_migrations::{Fold, FoldOutput, Migration, Record, Result};

use crate::crashes::break_off_everywhere_with;
use crate::rekey::keys;
use crate::service::{InitialEntry, Service, failure, ids};
use crate::stores::{Intercepting, ShortPages};

/// The number of users for each value. A map needs keys that are text.
type Counts = BTreeMap<String, u64>;

#[allow(clippy::unnecessary_wraps, clippy::trivially_copy_pass_by_ref, reason = "as a fold calls it")]
fn count(counts: &mut Counts, record: &Record, (): &()) -> Result {
    *counts.entry(String::from_utf8_lossy(record.value()).into_owned()).or_default() += 1;
    Ok(())
}

/// Closes with these outputs.
fn closing(
    close: impl AsyncFn(&Kv, &Counts) -> Result<Vec<FoldOutput>> + Send + Sync + 'static,
) -> Vec<Migration> {
    let fold =
        Fold::merging("user_", Counts::new, count, async move |kv, counts, ()| close(kv, counts).await);
    vec![Migration::fold("long", "", fold)]
}

/// Adds to the number that is there. It would count twice if it read what it has written itself.
async fn add(kv: &Kv, counts: &Counts) -> Result<Vec<FoldOutput>> {
    let mut outputs = Vec::new();
    let mut old = kv.list("count_");
    while let Some(key) = old.next().await? {
        if !counts.contains_key(&key.name["count_".len()..]) {
            outputs.push(FoldOutput::delete(key.name));
        }
    }
    let mut total = 0;
    for (value, number) in counts {
        let key = format!("count_{value}");
        let before: u64 = kv.text(&key).await?.map_or(Ok(0), |text| text.parse())?;
        total += before + number;
        outputs.push(FoldOutput::new(key, (before + number).to_string()).keep_metadata().keep_expiration());
    }
    outputs.push(
        FoldOutput::new("total", [b"\xff", total.to_string().as_bytes()].concat()).with_metadata(&total)?,
    );
    Ok(outputs)
}

fn adding() -> Migration {
    closing(add).remove(0)
}

/// Nine users of three towns, and an older count of two towns.
fn entries() -> Vec<InitialEntry> {
    let user = |n: usize| InitialEntry::new(format!("user_{n}"), ["bonn", "ulm", "rom"][n % 3]);
    let mut entries: Vec<InitialEntry> = (0..9).map(user).collect();
    let metadata = Some(r#"{"by":"hand"}"#);
    entries.push(InitialEntry { metadata, ttl: Some(100_000), ..InitialEntry::new("count_bonn", "10") });
    entries.push(InitialEntry::new("count_ulm", "20"));
    entries.push(InitialEntry::new("count_gone", "30"));
    entries.push(InitialEntry { metadata, ..InitialEntry::new("total", "60") });
    entries
}

fn key_of(service: &Service, name: &str) -> Key {
    let mut keys = service.store.entries().into_iter().map(|(key, _)| key);
    keys.find(|key| key.name == name).unwrap_or_else(|| panic!("{name} is missing"))
}

fn metadata_of(service: &Service, name: &str) -> Option<String> {
    key_of(service, name).metadata.map(|metadata| metadata.as_json().to_owned())
}

#[test]
fn what_is_there_is_added_to_keeps_metadata_and_expiration_and_stale_keys_are_deleted() {
    let service = Service::holding(&entries(), 900);
    let before = key_of(&service, "count_bonn");
    assert_eq!(service.migrate(vec![adding()]), ids(&["long"]));
    let texts = ["count_bonn", "count_ulm", "count_rom", "count_gone"].map(|key| service.text(key));
    assert_eq!(texts, [Some("13".into()), Some("23".into()), Some("3".into()), None]);
    assert!(before.metadata.is_some() && before.expiration.is_some());
    assert_eq!(key_of(&service, "count_bonn"), before);
    assert_eq!(service.store.value("total").unwrap(), b"\xff39");
    assert_eq!(metadata_of(&service, "total").as_deref(), Some("39"), "its own metadata replaces the old");
}

#[test]
fn a_fold_that_adds_to_numbers_and_is_cut_off_anywhere_counts_nothing_twice() {
    break_off_everywhere_with(&entries(), adding, 900);
    break_off_everywhere_with(&entries(), adding, 14);
}

#[test]
fn a_merging_fold_closes_once_however_many_requests_write() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 20);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let migrations = closing(async move |_, _| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        Ok((0..100).map(|n| FoldOutput::new(format!("out_{n:02}"), call.to_string())).collect())
    });
    let reports = service.drive(&service.runner(migrations)).unwrap();
    assert!(reports.len() > 5, "{} requests for 100 writes with 20 operations each", reports.len());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let number = keys(&service).iter().filter(|key| key.starts_with("out_")).count();
    assert_eq!(number, 100);
    let seen = reports.iter().filter_map(|report| report.progress.as_ref()).map(|progress| progress.total);
    assert!(seen.skip(1).all(|total| total == Some(100)), "the progress has the number of outputs");
}

#[test]
fn a_closing_step_that_fails_is_repeated_without_gathering_anything_again() {
    let service = Service::holding(&entries(), 900);
    let failing = || closing(async |kv, _| Err(format!("boom at {:?}", kv.text("count_bonn").await?).into()));
    let failed = failure(service.drive(&service.runner(failing())));
    assert_eq!(failed.reason, r#"boom at Some("10")"#);
    block_on(service.store.delete("user_0")).unwrap();
    service.drive(&service.runner(vec![adding()])).unwrap();
    assert_eq!(service.text("count_bonn").as_deref(), Some("13"), "`user_0` was gathered before");
}

#[test]
fn a_closing_step_that_writes_is_refused_also_if_it_hides_that() {
    let service = Service::holding(&entries(), 900);
    let writing = closing(async |kv, _| {
        kv.put("total", "0").await?;
        Ok(Vec::new())
    });
    let reason = failure(service.drive(&service.runner(writing))).reason;
    assert!(reason.contains("put of `total`") && reason.contains("return a `FoldOutput`"), "{reason}");
    let hiding = closing(async |kv, _| {
        let _ = kv.delete("total").await;
        Ok(vec![FoldOutput::new("other", "1")])
    });
    let reason = failure(service.drive(&service.runner(hiding))).reason;
    assert!(reason.starts_with("`close` wrote through `kv`") && reason.contains("FoldOutput"), "{reason}");
    assert_eq!((service.text("total").as_deref(), service.text("other")), (Some("60"), None));
}

type Make = fn(&str) -> Result<FoldOutput>;

#[test]
fn outputs_that_kv_does_not_take_fail_before_anything_is_written() {
    let long = "k".repeat(513);
    let cases: [(Make, &str); 7] = [
        (|_| Ok(FoldOutput::new("", "x")), "KV takes no such key"),
        (|_| Ok(FoldOutput::delete("..")), "KV takes no such key"),
        (|long| Ok(FoldOutput::new(long, "x")), "the key has 513 bytes, and KV takes 512 at most"),
        (|long| FoldOutput::new("k", "x").with_metadata(&[long, long]), "the metadata has 1033 bytes"),
        (|_| Ok(FoldOutput::new("k", "x").with_expiration_ttl(59)), "in less than 60 seconds"),
        (|_| Ok(FoldOutput::new("k", "x").with_expiration(1 << 31)), "after January 2038"),
        (|_| Ok(FoldOutput::new("k", vec![b'x'; 26_214_401])), "the value has 26214401 bytes"),
    ];
    for (bad, why) in cases {
        let service = Service::holding(&entries(), 900);
        let long = long.clone();
        let migrations = closing(async move |_, _| Ok(vec![FoldOutput::new("a", "1"), bad(&long)?]));
        let reason = failure(service.drive(&service.runner(migrations))).reason;
        assert!(reason.contains(why) && reason.contains("Nothing was written."), "{reason}");
        assert_eq!(service.text("a"), None, "{why}");
        service.drive(&service.runner(vec![adding()])).expect("it is mended");
        assert_eq!(service.text("count_bonn").as_deref(), Some("13"));
    }
}

#[test]
fn a_key_twice_is_refused() {
    let service = Service::holding(&entries(), 900);
    let twice = closing(async |_, _| Ok(vec![FoldOutput::new("a", "1"), FoldOutput::delete("a")]));
    let reason = failure(service.drive(&service.runner(twice))).reason;
    assert_eq!(reason, "the key `a` would be written twice");
}

/// Reads this many keys.
fn reading(number: usize) -> Vec<Migration> {
    closing(async move |kv, counts| {
        for n in 0..number {
            kv.text(&format!("name_{n}")).await?;
        }
        Ok(counts
            .iter()
            .map(|(value, number)| FoldOutput::new(format!("count_{value}"), number.to_string()))
            .collect())
    })
}

#[test]
fn a_closing_step_that_does_not_fit_into_the_rest_of_a_request_has_the_next_one_to_itself() {
    let users: Vec<InitialEntry> = (0..60).map(|n| InitialEntry::new(format!("user_{n:02}"), "x")).collect();
    let service = Service::holding(&users, 60);
    // Two keys a page: the lists leave too little of a request for the closing step.
    let runner = service.runner_on(ShortPages(service.store.clone(), 2), reading(55));
    let reports = service.drive(&runner).unwrap();
    assert!(reports.len() > 1, "{reports:?}");
    assert_eq!(service.text("count_x").as_deref(), Some("60"));
}

#[test]
fn a_request_that_is_cut_off_amid_what_the_closing_step_reads_keeps_what_was_gathered() {
    let service = Service::holding(&entries(), 900);
    let is_dead = AtomicBool::new(false);
    let store = Intercepting {
        store: service.store.clone(),
        answer: move |request: Request<'_>| {
            is_dead.fetch_or(request.key() == "name_3", Ordering::Relaxed);
            is_dead.load(Ordering::Relaxed).then(|| Err(request.refused(None, "injected: crashed")))
        },
    };
    failure(service.drive(&service.runner_on(store, reading(5))));
    block_on(service.store.delete("user_0")).unwrap();
    service.drive(&service.runner(reading(5))).unwrap();
    assert_eq!(service.text("count_bonn").as_deref(), Some("3"), "`user_0` was gathered before");
}

#[test]
fn outputs_too_large_for_a_checkpoint_fail_before_anything_is_written() {
    let service = Service::holding(&entries(), 60);
    let outputs = |megabytes: usize| {
        closing(async move |_, _| {
            let output = |n| FoldOutput::new(format!("count_{n}"), "x".repeat(1024 * 1024));
            Ok((0..megabytes).map(output).collect())
        })
    };
    let reason = failure(service.drive(&service.runner(outputs(10)))).reason;
    assert!(
        reason.contains("its state has grown to 1048") && reason.contains(" a checkpoint holds 10485760."),
        "{reason}"
    );
    assert_eq!(service.text("count_0"), None);
    service.drive(&service.runner(outputs(9))).unwrap();
    assert_eq!(service.text("count_8").map(|text| text.len()), Some(1024 * 1024));
}

#[test]
fn a_closing_step_that_does_not_fit_into_a_whole_budget_fails_and_says_so() {
    let service = Service::holding(&entries(), 60);
    let reason = failure(service.drive(&service.runner(reading(500)))).reason;
    assert!(
        reason.starts_with("its closing step needs more than the 60 KV operations")
            && reason.contains("read less in `close`, or set a larger budget"),
        "{reason}"
    );
    assert_eq!(service.text("count_rom"), None);
    // Also where it hides that an operation was refused: what it did not read is not missing.
    let hiding = closing(async |kv, _| {
        let mut read = Ok(None);
        for _ in 0..500 {
            read = kv.text("total").await;
        }
        assert!(matches!(read.unwrap_err().kind(), KvErrorKind::OverBudget));
        Ok(vec![FoldOutput::new("count_rom", "wrong")])
    });
    let reason = failure(service.drive(&service.runner(hiding))).reason;
    assert!(reason.starts_with("its closing step needs more than"), "{reason}");
    assert_eq!(service.text("count_rom"), None);
}

#[test]
fn a_closing_step_without_outputs_is_applied() {
    let service = Service::holding(&entries(), 900);
    assert_eq!(service.migrate(closing(async |_, _| Ok(Vec::new()))), ids(&["long"]));
}

#[test]
fn outputs_that_are_kept_survive_a_change_of_the_closing_step() {
    let service = Service::holding(&[], 20);
    let writing = |value: &'static str| {
        closing(async move |_, _| {
            Ok((0..40).map(|n| FoldOutput::new(format!("out_{n:02}"), value)).collect())
        })
    };
    let report = service.request(&service.runner(writing("one"))).unwrap();
    assert!(!report.is_finished());
    service.drive(&service.runner(writing("two"))).unwrap();
    let values: BTreeSet<Option<String>> = (0..40).map(|n| service.text(&format!("out_{n:02}"))).collect();
    assert_eq!(values, BTreeSet::from([Some("one".to_owned())]));
}

#[test]
fn a_fold_that_becomes_a_merging_one_while_it_is_under_way_is_refused() {
    let service = Service::holding(&[], 20);
    let outputs = || (0..40).map(|n| FoldOutput::new(format!("out_{n:02}"), "1")).collect::<Vec<_>>();
    let plain = Fold::new("user_", Counts::new, count, move |_, ()| Ok(outputs()));
    service.request(&service.runner(vec![Migration::fold("long", "", plain)])).unwrap();
    let reason = failure(service.drive(&service.runner(closing(async move |_, _| Ok(outputs()))))).reason;
    assert!(reason.contains("cannot read its checkpoint"), "{reason}");
}

/// A checkpoint that holds the outputs has no use for the state.
#[test]
fn a_checkpoint_of_outputs_keeps_neither_the_state_nor_what_is_written() {
    let users: Vec<InitialEntry> =
        (0..50).map(|n| InitialEntry::new(format!("user_{n:02}"), format!("{n:0>1000}"))).collect();
    let service = Service::holding(&users, 20);
    let small =
        || closing(async |_, _| Ok((0..40).map(|n| FoldOutput::new(format!("out_{n:02}"), "1")).collect()));
    let runner = service.runner(small());
    let mut sizes = Vec::new();
    while !service.request(&runner).unwrap().is_finished() {
        if service.text("out_00").is_some() {
            sizes.push(service.store.value("migration_my-service_long").unwrap().len());
        }
    }
    assert!(sizes.len() > 1 && sizes[0] < 5_000 && sizes.is_sorted_by(|one, next| next < one), "{sizes:?}");
}

/// Of a fold whose closing step sees the state alone.
#[test]
fn a_plain_fold_deletes_and_keeps_too() {
    let service = Service::holding(&entries(), 12);
    let before = key_of(&service, "count_bonn");
    let listed = Key::new("any").with_metadata(before.metadata.clone()).with_expiration(before.expiration);
    let plain = Fold::new("user_", Counts::new, count, move |counts, ()| {
        let kept = counts.iter().map(|(value, number)| {
            let output = FoldOutput::new(format!("count_{value}"), number.to_string());
            output.keep_metadata().keep_expiration()
        });
        let others = [
            FoldOutput::delete("count_gone"),
            FoldOutput::new("total", "9").with_options_of(&listed),
            FoldOutput::new("week", "9").with_expiration_ttl(604_800),
            FoldOutput::new("soon", "9").with_expiration(100),
        ];
        Ok(kept.chain(others).collect())
    });
    service.drive(&service.runner(vec![Migration::fold("long", "", plain)])).unwrap();
    assert_eq!(service.text("count_gone"), None);
    assert_eq!(key_of(&service, "count_bonn"), before);
    assert_eq!(service.text("count_bonn").as_deref(), Some("3"));
    assert_eq!(
        key_of(&service, "total"),
        Key::new("total").with_metadata(before.metadata).with_expiration(before.expiration)
    );
    assert!(key_of(&service, "week").expiration.is_some());
    assert!(key_of(&service, "soon").expiration.is_some(), "a time in the past is the nearest that KV takes");
}
