//! What looks like a mistake in what a migration does.

use kv_migrations::{
    Backfill, Collisions, DryRun, DryRunFindingKind, DryRunMigration, Migration, MigrationKind, Rekey,
};

use super::{dry_run, kinds, only, users};
use crate::service::{InitialEntry, Service};

fn found(migration: &DryRunMigration) -> Vec<(DryRunFindingKind, u64, Vec<&str>)> {
    let findings = migration.findings.iter();
    findings
        .map(|finding| (finding.kind, finding.count, finding.keys.iter().map(String::as_str).collect()))
        .collect()
}

#[test]
fn entries_that_fail_and_collisions_are_found() {
    let service = Service::holding(&users(3), 900);
    service.fill(&[InitialEntry::new("user:0001", "of somebody else")]);
    let picky = Backfill::new("user_", async |_, user, (): &()| {
        if user.name() == "user_0002" { Err("cannot be read".into()) } else { Ok(()) }
    })
    .skip_failures(3)
    .apply_despite_failures();
    let moved = Rekey::prefix("user_", "user:").with_collisions(Collisions::Skip);
    let migrations = vec![Migration::backfill("picky", "", picky), Migration::rekey("moved", "", moved)];
    let report = dry_run(&service.runner(migrations), &DryRun::new());
    assert!(report.complete, "{report:#?}");
    assert_eq!(found(&report.migrations[0]), [(DryRunFindingKind::FailedEntry, 1, vec!["user_0002"])]);
    assert_eq!(report.migrations[0].findings[0].reason.as_deref(), Some("cannot be read"));
    assert_eq!(found(&report.migrations[1]), [(DryRunFindingKind::Collision, 1, vec!["user_0001"])]);
}

#[test]
fn what_is_lost_written_again_or_refused_is_found() {
    let service = Service::new();
    service.fill(&[
        InitialEntry { metadata: Some("1"), ttl: Some(1_000), ..InitialEntry::new("both", "x") },
        InitialEntry { metadata: Some("1"), ..InitialEntry::new("kept", "x") },
    ]);
    let careless = Migration::new("careless", "", async |kv, (): &()| {
        kv.put("both", "y").clear_options().await?;
        kv.put("kept", "y").await?;
        kv.put("new", "1").clear_options().await?;
        kv.put("new", "2").clear_options().await?;
        kv.put(&"k".repeat(513), "x").clear_options().await.ok();
        kv.put("big", vec![0; 25 * 1024 * 1024 + 1]).clear_options().await.ok();
        Ok(())
    });
    let report = dry_run(&service.runner(vec![careless]), &DryRun::new().showing(0));
    let careless = only(&report);
    let long = "k".repeat(513);
    assert_eq!(
        found(careless),
        [
            (DryRunFindingKind::MetadataLost, 1, vec!["both"]),
            (DryRunFindingKind::ExpirationLost, 1, vec!["both"]),
            (DryRunFindingKind::WrittenAgain, 1, vec!["new"]),
            (DryRunFindingKind::Refused, 2, vec![long.as_str(), "big"]),
        ]
    );
    let reason = careless.findings[3].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("exceeds key length limit of 512"), "{reason}");
    assert_eq!(
        (careless.writes, careless.bytes, careless.more_changes, careless.changes.len()),
        (4, 4, 4, 0)
    );
    assert_eq!(careless.usd, "0.000020");
}

/// Where waits of 90 seconds lie between, KV takes both writes.
#[test]
fn a_rekey_of_an_ordinary_service_finds_nothing() {
    let service = Service::holding(&users(20), 900);
    let report = dry_run(&service.runner(kinds(&[3])), &DryRun::new());
    assert_eq!(only(&report).findings, [], "{report:#?}");
    assert_eq!((only(&report).writes, only(&report).deletes), (20, 20));
    assert_eq!(only(&report).kind, MigrationKind::Rekey);
}
