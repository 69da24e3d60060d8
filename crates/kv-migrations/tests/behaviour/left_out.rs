//! Data whose keys begin with `migration_`, like markers: a walk over all keys leaves it out, and says so.

use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Rekey, RunReport};

use crate::object::Object;
use crate::service::{Service, good};

fn marking(prefix: &'static str) -> Migration {
    let marking =
        Backfill::new(prefix, async |_, record, ()| Ok(record.put([record.value(), b"+"].concat()).await?));
    Migration::backfill("002_all", "", marking)
}

fn counting() -> Migration {
    let number = |number: &u64, (): &()| Ok(vec![FoldOutput::new("number", number.to_string())]);
    let fold = Fold::new(
        "",
        || 0,
        |number: &mut u64, _, ()| {
            *number += 1;
            Ok(())
        },
        number,
    );
    Migration::fold("002_all", "", fold)
}

fn moving() -> Migration {
    let move_users = Rekey::new("", |key| Some(format!("user:{}", key.name.strip_prefix("user_")?)));
    Migration::rekey("002_all", "", move_users)
}

/// Markers of this service, of another one and of the TypeScript runner, and data.
fn service(data: u32) -> Service {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    service.neighbour("other").migrate(vec![good("001_other")]);
    service.put("migration_typescript_001", "true", Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#));
    service.put("user_1", "x", None);
    service.put("migrant", "x", None);
    for number in 0..data {
        service.put(&format!("migration_notes_{number:04}"), "data", None);
    }
    service
}

fn report(service: &Service, migration: Migration) -> RunReport {
    let reports = service.drive(&service.runner(vec![good("001"), migration])).expect("it succeeds");
    reports.into_iter().next_back().expect("there was a request")
}

#[test]
fn data_that_begins_like_a_marker_is_left_out_and_the_report_and_the_log_say_so() {
    for migration in [marking(""), marking("mi"), counting(), moving()] {
        let service = service(3);
        let report = report(&service, migration);
        let [warning] = &report.warnings[..] else { panic!("one warning: {:?}", report.warnings) };
        assert!(warning.contains("002_all left out 3 keys that begin with `migration_`"), "{warning}");
        assert!(service.log.lines().iter().any(|line| line.contains(warning)), "the log has it too");
        assert_eq!(service.store.value("migration_notes_0000").as_deref(), Some(&b"data"[..]));
    }
    assert!(report(&service(1_500), marking("")).warnings[0].contains("left out 1500 keys"));
}

#[test]
fn markers_alone_and_walks_that_do_not_cover_them_are_no_warning() {
    let warnings = |data, prefix| report(&service(data), marking(prefix)).warnings;
    assert_eq!(warnings(0, ""), [""; 0], "these are markers for certain");
    for prefix in ["user_", "migrant", "migration_notes_"] {
        assert_eq!(warnings(3, prefix), [""; 0], "{prefix}");
    }
}

#[test]
fn a_coordinator_tells_of_data_that_was_left_out_in_an_earlier_step() {
    let object = Object::new().with_users(100);
    object.kv.insert("migration_notes", "data");
    let coordinator = object.instance(vec![marking(""), crate::object::marking("003_users")]);
    let report = object.migrate(&coordinator).expect("its first step succeeds");
    assert!(!report.is_finished(), "it takes several steps");
    object.pass(&coordinator, std::time::Duration::from_mins(5));
    let history = coordinator.history().expect("it can be read");
    let [warning] = &history[0].warnings[..] else { panic!("one warning: {:?}", history[0]) };
    assert!(warning.contains("002_all left out 1 keys that begin with `migration_`"), "{warning}");
}
