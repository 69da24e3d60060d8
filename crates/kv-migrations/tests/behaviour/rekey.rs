//! A re-key moves every entry with all that it has, finds collisions before it writes, and loses nothing of what a
//! service writes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::{Clock, ManualClock};
use kv_migrations::kv::{Expiration, Fault, MemoryStore, Metadata, PutOptions, StoreExt, faulty};
use kv_migrations::log::MemoryLog;
use kv_migrations::{Budget, Collisions, Error, Migration, Rekey, Runner};

use crate::stores::{Lagging, LateLists, ShortPages};
use crate::virtual_time::{Slow, VirtualTime};
use crate::world::{Seed, World};

fn migration(rekey: Rekey) -> Migration {
    Migration::rekey("long", "", rekey)
}

fn users() -> Rekey {
    Rekey::prefix("user_", "user:")
}

/// Takes the case out of the keys.
fn lower_case() -> Rekey {
    Rekey::new("user_", |key| {
        let lower = key.name.to_lowercase();
        (lower != key.name).then_some(lower)
    })
}

fn drive(world: &World, rekey: Rekey) -> Result<(), Error> {
    world.drive(&world.runner_on(world.store.clone(), migration(rekey))).map(drop)
}

fn keys(world: &World) -> Vec<String> {
    let names = world.store.entries().into_iter().map(|(key, _)| key.name);
    names.filter(|name| !name.starts_with("migration_")).collect()
}

fn error(world: &World, rekey: Rekey) -> String {
    drive(world, rekey).expect_err("it cannot succeed").to_string()
}

#[test]
fn an_entry_keeps_its_bytes_its_metadata_and_its_time() {
    let seeds = [
        Seed {
            metadata: Some(r#"{"z":1,"a":2}"#),
            ttl: Some(5_000),
            ..Seed::new("user_1", [0xff, 0x00, 0x7f])
        },
        Seed::new("user_bom", "\u{FEFF}{}"),
        Seed { ttl: Some(1_000), ..Seed::new("user_empty", "") },
    ];
    let world = World::of(&seeds, 900);
    let mut expected = world.store.entries();
    for (key, _) in &mut expected {
        key.name = key.name.replace("user_", "user:");
    }
    drive(&world, users()).unwrap();
    let moved: Vec<_> =
        world.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("user")).collect();
    assert_eq!(moved, expected);
}

#[test]
fn it_waits_out_kvs_delay_before_it_deletes_and_before_it_ends() {
    let world = World::of(&[Seed::new("user_1", "x")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    let phase = |report: &kv_migrations::RunReport| report.progress.as_ref().unwrap().phase.to_string();

    let first = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((phase(&first).as_str(), first.retry_after), ("wait", Some(Duration::from_secs(90))));
    assert_eq!(keys(&world), ["user:1", "user_1"], "both are there");

    world.clock.advance(Duration::from_secs(30));
    let early = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((phase(&early).as_str(), early.retry_after), ("wait", Some(Duration::from_mins(1))));

    world.clock.advance(Duration::from_mins(1));
    let swept = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(keys(&world), ["user:1"]);
    assert!(!swept.is_finished(), "what was written under old keys meanwhile is looked for later");

    world.clock.advance(swept.retry_after.unwrap());
    assert!(block_on(runner.run_pending(&())).unwrap().is_finished());
}

#[test]
fn what_the_migration_before_it_wrote_is_moved_though_it_is_listed_late() {
    let world = World::of(&[], 900);
    let stale = LateLists::over(world.store.clone(), world.clock.clone());
    let write = Migration::new("first", "", async |kv, ()| Ok(kv.put("user_1", "x").await?));
    let runner = world.runner_of(stale, vec![write, migration(users())]);
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["user:1"]);
}

#[test]
fn two_keys_that_get_the_same_are_found_before_anything_is_written() {
    let world =
        World::of(&[Seed::new("user_Ada", "1"), Seed::new("user_aDA", "1"), Seed::new("user_x", "2")], 900);
    assert_eq!(
        error(&world, lower_case()),
        "Migration long failed: 1 of the entries cannot have their new keys: `user_aDA` would get the key `user_ada`, which \
         another entry gets as well. Nothing was written or deleted. Give them keys of their own, or let them stay \
         with `Collisions::Leave`"
    );
    assert_eq!(keys(&world), ["user_Ada", "user_aDA", "user_x"]);

    block_on(world.store.delete("user_aDA")).unwrap();
    drive(&world, lower_case()).expect("once there is room, the next run goes through");
    assert_eq!(keys(&world), ["user_ada", "user_x"]);
}

#[test]
fn a_key_that_is_taken_is_found_before_anything_is_written() {
    let world = World::of(
        &[Seed::new("user:1", "another"), Seed::new("user_1", "one"), Seed::new("user_2", "two")],
        900,
    );
    let error = error(&world, users());
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(keys(&world), ["user:1", "user_1", "user_2"]);
}

#[test]
fn a_key_that_the_way_back_does_not_give_back_is_a_collision() {
    let world = World::of(&[Seed::new("user_Ada", "1"), Seed::new("user_eve", "2")], 900);
    let rekey = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()))
        .with_inverse("user:", |key| Some(key.name.replace("user:", "user_")));
    let error = error(&world, rekey);
    assert!(
        error.contains("`user_Ada` would get the key `user:ada`, for which the inverse gives `user_ada`"),
        "{error}"
    );
}

#[test]
fn all_collisions_are_counted_and_the_first_are_listed() {
    let seeds: Vec<Seed> = (0..60)
        .flat_map(|n| [Seed::new(format!("user_{n:02}"), "old"), Seed::new(format!("user:{n:02}"), "new")])
        .collect();
    let world = World::of(&seeds, 50);
    let error = error(&world, users());
    assert!(
        error.contains("60 of the entries cannot have their new keys") && error.contains("and 40 more"),
        "{error}"
    );
}

#[test]
fn told_so_it_leaves_what_collides_and_reports_it() {
    let world = World::of(
        &[
            Seed::new("user:1", "another"),
            Seed::new("user_1", "one"),
            Seed::new("user_2", "two"),
            Seed::new("user_3", "three"),
        ],
        900,
    );
    let rekey = users().on_collisions(Collisions::Leave);
    let reports = world.drive(&world.runner_on(world.store.clone(), migration(rekey))).unwrap();
    assert_eq!(keys(&world), ["user:1", "user:2", "user:3", "user_1"]);
    assert_eq!(world.store.value("user:1").unwrap(), b"another");
    let failed = &reports.last().unwrap().details[0].failed_entries;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].key, "user_1");
    assert_eq!(failed[0].reason, "was left: it would get the key `user:1`, at which there is something else");
}

#[test]
fn what_no_key_can_be_is_told_before_anything_is_written() {
    let long = format!("user_{}", "k".repeat(505));
    let world = World::of(&[Seed::new("user_1", "x"), Seed::new(&long, "y")], 900);
    let error = error(&world, Rekey::prefix("user_", "customer:"));
    assert!(error.contains("514 bytes, which KV does not take"), "{error}");
    assert_eq!(keys(&world).len(), 2);
}

#[test]
fn a_mapping_that_would_move_what_it_has_moved_is_refused() {
    let world = World::of(&[Seed::new("user_1", "x")], 900);
    let error = error(&world, Rekey::new("user_", |key| Some(key.name.replacen("user_", "user_v2_", 1))));
    assert!(error.contains("`user_v2_1`, which would then get the key `user_v2_v2_1`"), "{error}");
}

#[test]
fn a_new_key_can_begin_like_an_old_one() {
    let world = World::of(&[Seed::new("user_1", "x"), Seed::new("user_2", "y")], 900);
    let rekey = Rekey::new("user_", |key| {
        let rest = key.name.strip_prefix("user_")?;
        (!rest.starts_with("v2_")).then(|| format!("user_v2_{rest}"))
    })
    .with_inverse("user_v2_", |key| Some(key.name.replace("user_v2_", "user_")));
    drive(&world, rekey).unwrap();
    assert_eq!(keys(&world), ["user_v2_1", "user_v2_2"]);
}

#[test]
fn the_key_can_depend_on_the_metadata() {
    let world = World::of(&[Seed { metadata: Some(r#""DE""#), ..Seed::new("city_7", "Ulm") }], 900);
    let rekey = Rekey::new("city_", |key| {
        let country: String = key.metadata.as_ref()?.parse().ok()?;
        Some(format!("city:{country}:{}", key.name.strip_prefix("city_")?))
    })
    .with_inverse("city:", |key| Some(format!("city_{}", key.name.rsplit(':').next()?)));
    let runner = world.runner_on(world.store.clone(), migration(rekey));
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["city:DE:7"]);
    world.undo(&runner).unwrap();
    assert_eq!(keys(&world), ["city_7"]);
}

#[test]
fn what_expires_soon_is_left_to_expire() {
    let world =
        World::of(&[Seed { ttl: Some(80), ..Seed::new("user_1", "x") }, Seed::new("user_2", "y")], 900);
    drive(&world, users()).unwrap();
    assert_eq!(keys(&world), ["user:2"], "it has expired meanwhile, as it was to");
}

#[test]
fn a_change_to_an_entry_that_is_copied_already_is_copied_too() {
    let world = World::of(&[Seed::new("user_1", "before"), Seed::new("user_2", "y")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    world.request(&runner).unwrap();
    assert_eq!(world.store.value("user:1").unwrap(), b"before");

    let options =
        PutOptions { metadata: Some(Metadata::from_json("1")), expiration: Some(Expiration::After(9_000)) };
    block_on(world.store.put("user_1", b"after", &options)).unwrap();
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["user:1", "user:2"]);
    assert_eq!(world.store.value("user:1").unwrap(), b"after");
    let (key, _) = world.store.entries().into_iter().find(|(key, _)| key.name == "user:1").unwrap();
    assert_eq!(key.metadata, options.metadata);
    assert!(key.expiration.is_some());
}

#[test]
fn a_later_expiration_alone_is_a_change_too() {
    let world = World::of(&[Seed { ttl: Some(300), ..Seed::new("user_1", "session") }], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    world.request(&runner).unwrap();
    let options = PutOptions { metadata: None, expiration: Some(Expiration::After(100_000)) };
    block_on(world.store.put("user_1", b"session", &options)).unwrap();
    world.drive(&runner).unwrap();
    world.clock.advance(Duration::from_secs(50_000));
    assert_eq!(keys(&world), ["user:1"], "it must not expire before its time");
}

#[test]
fn what_the_service_writes_to_a_new_key_is_newer_than_the_old_one() {
    let world = World::of(&[Seed::new("user_1", "before")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    world.request(&runner).unwrap();
    world.store.insert("user:1", "written to the new key");
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["user:1"]);
    assert_eq!(world.store.value("user:1").unwrap(), b"written to the new key");
}

#[test]
fn both_changed_differently_is_a_collision_and_nothing_is_lost() {
    let world = World::of(&[Seed::new("user_1", "before")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    world.request(&runner).unwrap();
    world.store.insert("user:1", "new");
    world.store.insert("user_1", "old");
    let error = world.drive(&runner).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(world.store.value("user_1").unwrap(), b"old");
    assert_eq!(world.store.value("user:1").unwrap(), b"new");
}

#[test]
fn a_copy_that_got_lost_is_made_again() {
    let world = World::of(&[Seed::new("user_1", "x")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    world.request(&runner).unwrap();
    block_on(world.store.delete("user:1")).unwrap();
    world.drive(&runner).unwrap();
    assert_eq!(world.store.value("user:1").unwrap(), b"x");
}

#[test]
fn entries_that_appear_meanwhile_are_moved_as_well() {
    let world = World::of(&[Seed::new("user_5", "x")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    world.request(&runner).unwrap();
    world.store.insert("user_1", "behind");
    world.request(&runner).unwrap();
    world.store.insert("user_9", "after the sweep");
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["user:1", "user:5", "user:9"]);
}

#[test]
fn a_service_that_never_stops_writing_old_keys_ends_in_an_error_not_in_a_loop() {
    let world = World::of(&[Seed::new("user_1", "x")], 900);
    let runner = world.runner_on(world.store.clone(), migration(users()));
    let error = (0..100).find_map(|number| {
        world.store.insert("user_1", format!("{number}"));
        world.request(&runner).err()
    });
    let error = error.expect("it gives up").to_string();
    assert!(error.contains("entries change faster than they can be moved"), "{error}");
    world.drive(&runner).expect("when that ends, the next run finishes it");
    assert_eq!(keys(&world), ["user:1"]);
}

#[test]
fn it_costs_a_read_a_write_and_a_delete_for_each_and_little_more() {
    let seeds: Vec<Seed> = (0..2_000).map(|n| Seed::new(format!("user_{n:04}"), "x")).collect();
    let world = World::of(&seeds, 900);
    let before = world.store.operations();
    drive(&world, users()).unwrap();
    let (needed, least) = (world.store.operations() - before, 3 * 2_000);
    assert!(needed * 100 <= least * 104, "{needed} operations, where {least} are the least");
}

/// Moves entries while a service elsewhere writes both keys of one after the other. The values that are there in the
/// end, and those that were written last.
fn with_a_busy_service(delay: Duration) -> (Vec<String>, Vec<String>) {
    let seeds: Vec<Seed> = (0..8).map(|number| Seed::new(format!("user_{number}"), "first")).collect();
    let world = World::of(&seeds, 40);
    let store = Lagging::over(world.store.clone(), world.clock.clone());
    let runner = world.runner_on(store.clone(), migration(users().with_visibility_delay(delay)));
    let mut last: Vec<String> = vec!["first".to_owned(); 8];
    for step in 0..3_000 {
        if step < 60 {
            let number = step * 7 % 8;
            let value = format!("written {step}");
            store.write_elsewhere(&format!("user_{number}"), &value);
            store.write_elsewhere(&format!("user:{number}"), &value);
            last[number] = value;
        }
        world.clock.advance(Duration::from_secs(7));
        // It may say that entries change too fast: then it is tried again.
        if block_on(runner.run_pending(&())).is_ok_and(|report| report.is_finished()) {
            break;
        }
    }
    let value = |number| {
        let value = world.store.value(&format!("user:{number}")).unwrap_or_default();
        String::from_utf8(value).unwrap()
    };
    ((0..8).map(value).collect(), last)
}

#[test]
fn nothing_that_a_service_writes_to_both_keys_is_lost_though_it_is_seen_a_minute_late() {
    let (found, last) = with_a_busy_service(Duration::from_secs(90));
    assert_eq!(found, last);
}

#[test]
fn without_the_wait_it_would_be_lost() {
    let (found, last) = with_a_busy_service(Duration::ZERO);
    assert_ne!(found, last, "the test above could not fail");
}

#[test]
fn a_thousand_collisions_can_be_mended() {
    let seeds: Vec<Seed> = (0..1_005)
        .flat_map(|n| [Seed::new(format!("user_{n:04}"), "old"), Seed::new(format!("user:{n:04}"), "new")])
        .collect();
    let world = World::of(&seeds, 100_000);
    let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
    let runner = world.runner_on(world.store.clone(), migration());
    world.drive(&runner).unwrap_err();
    for n in 0..1_005 {
        block_on(world.store.delete(&format!("user:{n:04}"))).unwrap();
    }
    world.clock.advance(Duration::from_hours(1));
    let mut last = String::new();
    for _ in 0..5 {
        match world.drive(&runner) {
            Ok(_) => return,
            Err(error) => last = error.to_string(),
        }
    }
    panic!("still: {last}");
}

#[test]
fn a_clock_that_is_set_back_does_not_make_it_wait_for_ever() {
    let world = World::of(&[Seed::new("user_1", "x")], 900);
    let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
    let runner = world.runner_on(world.store.clone(), migration());
    block_on(runner.run_pending(&())).unwrap();
    let early = ManualClock::at(world.clock.now() - chrono::TimeDelta::days(400));
    let back = world.runner_on(world.store.clone(), migration()).with_clock(Arc::new(early.clone()));
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
fn a_mended_mapping_has_no_collisions_with_the_one_before() {
    let seeds = [Seed::new("user_a", "1"), Seed::new("user_b", "2")];
    let world = World::of(&seeds, 900);
    let wrong = Rekey::new("user_", |key| {
        Some(if key.name == "user_a" { "new:1".to_owned() } else { "k".repeat(600) })
    })
    .on_collisions(Collisions::Leave);
    // A page for each key: what was surveyed before the wrong one is kept.
    let pages = || ShortPages(world.store.clone(), 1);
    let runner = world.runner_on(pages(), Migration::rekey("long", "", wrong));
    world.drive(&runner).unwrap_err();
    let right =
        Rekey::new("user_", |key| Some(if key.name == "user_a" { "new:2" } else { "new:1" }.to_owned()))
            .on_collisions(Collisions::Leave);
    let runner = world.runner_on(pages(), Migration::rekey("long", "", right));
    let reports = world.drive(&runner).unwrap();
    let keys: Vec<String> = world.store.entries().into_iter().map(|(key, _)| key.name).collect();
    assert_eq!(
        keys,
        ["migration_sim_long", "new:1", "new:2"],
        "{:?}",
        reports.last().unwrap().details[0].failed_entries
    );
}

#[test]
fn a_prefix_that_the_other_begins_with_goes_both_ways() {
    let world = World::of(&[Seed::new("user_v2_1", "x")], 900);
    let runner = world.runner_on(world.store.clone(), migration(Rekey::prefix("user_v2_", "user_")));
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["user_1"]);
    world.undo(&runner).unwrap();
    assert_eq!(keys(&world), ["user_v2_1"]);
}

#[test]
fn a_copy_made_in_the_sweep_is_proven_later_also_after_a_crash() {
    for at in 0..14 {
        let world = World::of(&[Seed::new("user_1", "before")], 900);
        let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
        let runner = world.runner_on(world.store.clone(), migration());
        world.request(&runner).unwrap();
        world.store.insert("user_1", "after");
        let crashing = world.runner_on(faulty(world.store.clone(), Fault::Crash(at)), migration());
        let _ = block_on(crashing.run_pending(&()));
        let copied_now = world.store.value("user:1").unwrap() == b"after";
        if copied_now {
            block_on(runner.run_pending(&())).unwrap();
            assert!(
                world.store.value("user_1").is_some(),
                "crash at {at}: copied and deleted within a moment"
            );
        }
    }
}

#[test]
fn two_at_once_beside_a_service_that_writes_both_keys_lose_nothing() {
    for seed in 0..10_u64 {
        let time = VirtualTime::new();
        let store = MemoryStore::with_clock(time.clock.clone());
        for number in 0..30 {
            store.insert(&format!("user_{number:02}"), "first");
        }
        let runner = |latency: u64| {
            let slow =
                Slow { store: store.clone(), time: time.clone(), latency: Duration::from_millis(latency) };
            let migration = Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
            Runner::new(slow, "sim", vec![migration])
                .unwrap()
                .with_clock(Arc::new(time.clone()))
                .with_log(Arc::new(MemoryLog::default()))
                .with_budget(Budget::default().with_operations(25 + seed))
        };
        let (one, two) = (runner(200 + seed * 13), runner(900 - seed * 7));
        let drive = async |runner: &Runner| {
            for _ in 0..600 {
                match runner.run_pending(&()).await {
                    Ok(report) if report.is_finished() => return,
                    Ok(report) => time.sleep(report.retry_after.unwrap()).await,
                    Err(_) => time.sleep(Duration::from_secs(100)).await,
                }
            }
        };
        let service = async {
            let mut last = vec!["first".to_owned(); 30];
            let mut state = seed * 7919 + 1;
            for step in 0..400 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                time.sleep(Duration::from_millis(300 + (state >> 40) % 1_500)).await;
                let number = (state >> 33) as usize % 30;
                let value = format!("written {step}");
                store.insert(&format!("user_{number:02}"), &value);
                store.insert(&format!("user:{number:02}"), &value);
                last[number] = value;
            }
            last
        };
        let (((), (), last), _) = time.time(async { futures::join!(drive(&one), drive(&two), service) });
        // The service still writes old keys after the end: what is there under either.
        for (number, expected) in last.iter().enumerate() {
            let found =
                store.value(&format!("user:{number:02}")).map(|value| String::from_utf8(value).unwrap());
            assert_eq!(found.as_ref(), Some(expected), "seed {seed}, {number}");
        }
    }
}
