//! A re-key moves every entry with all that it has, and waits out KV's delay before it deletes.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::testing::ManualClock;
use kv_migrations::{Error, Migration, Rekey};

use crate::stores::LateLists;
use crate::world::{Seed, World};

pub fn migration(rekey: Rekey) -> Migration {
    Migration::rekey("long", "", rekey)
}

pub fn users() -> Rekey {
    Rekey::prefix("user_", "user:")
}

pub fn drive(world: &World, rekey: Rekey) -> Result<(), Error> {
    world.drive(&world.runner_on(world.store.clone(), migration(rekey))).map(drop)
}

pub fn keys(world: &World) -> Vec<String> {
    let names = world.store.entries().into_iter().map(|(key, _)| key.name);
    names.filter(|name| !name.starts_with("migration_")).collect()
}

pub fn error(world: &World, rekey: Rekey) -> String {
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
    let phase = |report: &kv_migrations::RunReport| report.progress.as_ref().unwrap().phase.name();

    let first = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((phase(&first), first.retry_after), ("wait", Some(Duration::from_secs(90))));
    assert_eq!(keys(&world), ["user:1", "user_1"], "both are there");

    world.clock.advance(Duration::from_secs(30));
    let early = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((phase(&early), early.retry_after), ("wait", Some(Duration::from_mins(1))));

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
fn it_costs_a_read_a_write_and_a_delete_for_each_and_little_more() {
    let seeds: Vec<Seed> = (0..2_000).map(|n| Seed::new(format!("user_{n:04}"), "x")).collect();
    let world = World::of(&seeds, 900);
    let before = world.store.operations();
    drive(&world, users()).unwrap();
    let (needed, least) = (world.store.operations() - before, 3 * 2_000);
    assert!(needed * 100 <= least * 104, "{needed} operations, where {least} are the least");
}

#[test]
fn a_clock_that_is_set_back_does_not_make_it_wait_for_ever() {
    let world = World::of(&[Seed::new("user_1", "x")], 900);
    let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
    let runner = world.runner_on(world.store.clone(), migration());
    block_on(runner.run_pending(&())).unwrap();
    let early = ManualClock::starting_at(world.clock.now() - Duration::from_hours(24 * 400));
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
fn a_prefix_that_the_other_begins_with_goes_both_ways() {
    let world = World::of(&[Seed::new("user_v2_1", "x")], 900);
    let runner = world.runner_on(world.store.clone(), migration(Rekey::prefix("user_v2_", "user_")));
    world.drive(&runner).unwrap();
    assert_eq!(keys(&world), ["user_1"]);
    world.undo(&runner).unwrap();
    assert_eq!(keys(&world), ["user_v2_1"]);
}
