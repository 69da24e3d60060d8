//! A re-key: what it moves, what it costs, and how long it waits.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::testing::{Delay, DelayedKv, ManualClock, Origin, Visibility};
use kv_migrations::{Error, Migration, Rekey};

use crate::service::{InitialEntry, Service, good};

pub fn migration(rekey: Rekey) -> Migration {
    Migration::rekey("long", "", rekey)
}

pub fn users() -> Rekey {
    Rekey::prefix("user_", "user:")
}

pub fn drive(service: &Service, rekey: Rekey) -> Result<(), Error> {
    service.drive(&service.runner_on(service.store.clone(), vec![migration(rekey)])).map(drop)
}

pub fn keys(service: &Service) -> Vec<String> {
    let names = service.store.entries().into_iter().map(|(key, _)| key.name);
    names.filter(|name| !name.starts_with("migration_")).collect()
}

pub fn error(service: &Service, rekey: Rekey) -> String {
    drive(service, rekey).expect_err("it cannot succeed").to_string()
}

#[test]
fn a_moved_entry_keeps_value_metadata_and_expiration() {
    let entries = [
        InitialEntry {
            metadata: Some(r#"{"z":1,"a":2}"#),
            ttl: Some(5_000),
            ..InitialEntry::new("user_1", [0xff, 0x00, 0x7f])
        },
        InitialEntry::new("user_bom", "\u{FEFF}{}"),
        InitialEntry { ttl: Some(1_000), ..InitialEntry::new("user_empty", "") },
    ];
    let service = Service::holding(&entries, 900);
    let mut expected = service.store.entries();
    for (key, _) in &mut expected {
        key.name = key.name.replace("user_", "user:");
    }
    drive(&service, users()).unwrap();
    let moved: Vec<_> =
        service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("user")).collect();
    assert_eq!(moved, expected);
}

#[test]
fn a_rekey_waits_for_kvs_delay_before_it_deletes_and_before_it_ends() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let runner = service.runner_on(service.store.clone(), vec![migration(users())]);
    let phase = |report: &kv_migrations::RunReport| report.progress.as_ref().unwrap().phase.name();

    let first = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((phase(&first), first.retry_after), ("wait", Some(Duration::from_secs(90))));
    assert_eq!(keys(&service), ["user:1", "user_1"], "both are there");

    service.clock.advance(Duration::from_secs(30));
    let early = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((phase(&early), early.retry_after), ("wait", Some(Duration::from_mins(1))));

    service.clock.advance(Duration::from_mins(1));
    let swept = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(keys(&service), ["user:1"]);
    assert!(!swept.is_finished(), "what was written under old keys meanwhile is looked for later");

    service.clock.advance(swept.retry_after.unwrap());
    assert!(block_on(runner.run_pending(&())).unwrap().is_finished());
}

/// Lists what was written a minute late; markers at once, so that runs continue.
struct LateLists;

impl Visibility for LateLists {
    fn delay(&self, key: &str, _: Origin) -> Delay {
        let is_marker = key.starts_with("migration_");
        Delay { read: Duration::ZERO, list: if is_marker { Duration::ZERO } else { Duration::from_mins(1) } }
    }
}

#[test]
fn entries_that_are_listed_late_are_moved() {
    let service = Service::holding(&[], 900);
    let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), LateLists);
    let write = Migration::new("first", "", async |kv, ()| Ok(kv.put("user_1", "x").await?));
    let runner = service.runner_on(kv.at(0), vec![write, migration(users())]);
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1"]);
}

#[test]
fn new_keys_may_have_the_prefix_of_the_old_ones() {
    let service =
        Service::holding(&[InitialEntry::new("user_1", "x"), InitialEntry::new("user_2", "y")], 900);
    let rekey = Rekey::new("user_", |key| {
        let rest = key.name.strip_prefix("user_")?;
        (!rest.starts_with("v2_")).then(|| format!("user_v2_{rest}"))
    })
    .with_inverse("user_v2_", |key| Some(key.name.replace("user_v2_", "user_")));
    drive(&service, rekey).unwrap();
    assert_eq!(keys(&service), ["user_v2_1", "user_v2_2"]);
}

#[test]
fn the_new_key_may_depend_on_the_metadata() {
    let service = Service::holding(
        &[InitialEntry { metadata: Some(r#""DE""#), ..InitialEntry::new("city_7", "Ulm") }],
        900,
    );
    let rekey = Rekey::new("city_", |key| {
        let country: String = key.metadata.as_ref()?.parse().ok()?;
        Some(format!("city:{country}:{}", key.name.strip_prefix("city_")?))
    })
    .with_inverse("city:", |key| Some(format!("city_{}", key.name.rsplit(':').next()?)));
    let runner = service.runner_on(service.store.clone(), vec![migration(rekey)]);
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["city:DE:7"]);
    service.roll_back(&runner).unwrap();
    assert_eq!(keys(&service), ["city_7"]);
}

#[test]
fn an_entry_that_expires_soon_is_not_moved() {
    let service = Service::holding(
        &[
            InitialEntry { ttl: Some(80), ..InitialEntry::new("user_1", "x") },
            InitialEntry::new("user_2", "y"),
        ],
        900,
    );
    drive(&service, users()).unwrap();
    assert_eq!(keys(&service), ["user:2"], "it has expired meanwhile, as it was to");
}

#[test]
fn a_rekey_costs_little_more_than_a_read_a_write_and_a_delete_per_entry() {
    let entries: Vec<InitialEntry> =
        (0..2_000).map(|n| InitialEntry::new(format!("user_{n:04}"), "x")).collect();
    let service = Service::holding(&entries, 900);
    let before = service.store.operations();
    drive(&service, users()).unwrap();
    let (needed, least) = (service.store.operations() - before, 3 * 2_000);
    assert!(needed * 100 <= least * 104, "{needed} operations, where {least} are the least");
}

#[test]
fn a_rekey_ends_though_the_clock_is_set_back() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
    let runner = service.runner_on(service.store.clone(), vec![migration()]);
    block_on(runner.run_pending(&())).unwrap();
    let early = ManualClock::starting_at(service.clock.now() - Duration::from_hours(24 * 400));
    let back =
        service.runner_on(service.store.clone(), vec![migration()]).with_clock(Arc::new(early.clone()));
    for _ in 0..1_000 {
        let report = block_on(back.run_pending(&())).unwrap();
        if report.is_finished() {
            return;
        }
        early.advance(report.retry_after.unwrap());
    }
    panic!("1,000 requests, and it still waits");
}

#[test]
fn a_rekey_between_overlapping_prefixes_can_be_rolled_back() {
    let service = Service::holding(&[InitialEntry::new("user_v2_1", "x")], 900);
    let runner =
        service.runner_on(service.store.clone(), vec![migration(Rekey::prefix("user_v2_", "user_"))]);
    service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user_1"]);
    service.roll_back(&runner).unwrap();
    assert_eq!(keys(&service), ["user_v2_1"]);
}

/// How many seconds these migrations take on an empty namespace.
fn seconds_on_nothing(service: &Service, migrations: Vec<Migration>) -> u64 {
    let start = service.clock.now();
    service.migrate(migrations);
    service.clock.now().duration_since(start).expect("time goes on").as_secs()
}

fn empty(id: &'static str, from: &'static str, to: &'static str) -> Migration {
    Migration::rekey(id, "", Rekey::prefix(from, to))
}

#[test]
fn rekeys_one_after_the_other_that_find_nothing_share_one_wait() {
    let rekeys = vec![empty("1", "a_", "a:"), empty("2", "b_", "b:"), empty("3", "c_", "c:")];
    let seconds = seconds_on_nothing(&Service::new(), rekeys);
    assert!((91..100).contains(&seconds), "{seconds} seconds");
}

#[test]
fn a_rekey_waits_for_what_the_migration_before_it_may_have_written() {
    let rekeys = vec![empty("1", "a_", "a:"), good("2"), empty("3", "c_", "c:")];
    let seconds = seconds_on_nothing(&Service::new(), rekeys);
    assert!((182..200).contains(&seconds), "{seconds} seconds");
    let first_alone = Service::new();
    assert!(seconds_on_nothing(&first_alone, vec![empty("1", "a_", "a:")]) >= 91);
    let later = vec![empty("1", "a_", "a:"), empty("2", "b_", "b:")];
    assert!(
        seconds_on_nothing(&first_alone, later) >= 91,
        "in a later run nobody knows what was written between"
    );
}

#[test]
fn a_rekey_that_finds_entries_verifies_them_after_a_wait_of_its_own() {
    let service = Service::holding(&[InitialEntry::new("b_1", "x")], 900);
    let seconds = seconds_on_nothing(&service, vec![empty("1", "a_", "a:"), empty("2", "b_", "b:")]);
    assert!(seconds >= 3 * 91, "{seconds} seconds: to look, to verify, and to end");
    assert_eq!(keys(&service), ["b:1"]);
}
