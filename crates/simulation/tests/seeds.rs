//! What the simulation itself promises: the same seed gives the same world, and no defect escapes it.

use std::collections::BTreeSet;

use kv_migrations::sabotage::Defect;
use simulation::campaign::{Campaign, replay};

/// Of these many worlds one shows each defect.
const SEEDS: u64 = 2_000;

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..200 {
        let (one, other) = (replay(seed, None, true), replay(seed, None, true));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
fn a_world_is_the_same_whether_it_is_traced_or_not() {
    for seed in 0..200 {
        let (traced, untraced) = (replay(seed, None, true), replay(seed, None, false));
        assert_eq!(traced.tally, untraced.tally, "seed {seed}");
    }
}

#[test]
fn all_is_as_it_must_be() {
    let outcome = Campaign { from: 0, seeds: SEEDS, threads: 2, defect: None, goes_on: true }.run(|_| {});
    assert!(outcome.found.is_empty(), "{:#?}", outcome.found);
    assert_eq!(outcome.figures.worlds(), SEEDS);
}

/// The names of the invariants that do not hold with this defect.
fn broken_by(defect: Defect) -> BTreeSet<&'static str> {
    let campaign = Campaign { from: 0, seeds: SEEDS, threads: 2, defect: Some(defect), goes_on: true };
    campaign.run(|_| {}).found.into_keys().collect()
}

#[test]
fn to_mark_before_the_end_is_found() {
    let broken = broken_by(Defect::MarkBeforeFinish);
    assert!(broken.contains("marked_by_whom_it_was_finished"), "{broken:?}");
    assert!(broken.contains("marked_is_done"), "{broken:?}");
}

#[test]
fn to_delete_before_the_copy_is_verified_is_found() {
    let broken = broken_by(Defect::DeleteBeforeVerify);
    assert!(broken.contains("an_entry_is_deleted_only_if_it_is_elsewhere"), "{broken:?}");
}

#[test]
fn an_instance_that_is_not_fenced_off_is_found() {
    let broken = broken_by(Defect::NoFencing);
    assert!(broken.contains("one_step_at_a_time"), "{broken:?}");
}

#[test]
fn to_believe_the_markers_in_kv_is_found() {
    let broken = broken_by(Defect::StaleLedger);
    assert!(broken.contains("what_is_applied_does_not_run_again"), "{broken:?}");
}
