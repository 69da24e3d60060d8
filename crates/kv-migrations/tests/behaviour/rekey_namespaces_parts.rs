//! What a re-key can do, from one namespace into another.

use std::cell::Cell;

use kv_migrations::kv::MemoryStore;
use kv_migrations::{Collisions, Migration, MovingEntry, Rekey, RunReport};

use crate::rekey::migration;
use crate::rekey_namespaces::{texts, two};
use crate::service::{Service, left};

type Pairs = Vec<(String, String)>;

fn pairs(entries: &[(&str, &str)]) -> Pairs {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Moves an entry to the key that its value begins with, up to a `/`: it may be the key that it has.
fn by_value(old: &MemoryStore) -> Rekey {
    let rekey = Rekey::by_value("", |entry| Ok(entry.text()?.split_once('/').map(|(key, _)| key.to_owned())));
    rekey.in_namespace(old.clone())
}

/// Runs to the end. The service writes once the first copies are made.
fn run_writing(service: &Service, make: Migration, write: impl Fn()) -> Vec<RunReport> {
    let (runner, step) = (service.runner(vec![make]), Cell::new(0));
    let mut reports = Vec::new();
    loop {
        let report = service.request(&runner).unwrap_or_else(|error| panic!("{error}"));
        let is_finished = report.is_finished();
        reports.push(report);
        if is_finished {
            return reports;
        }
        if step.replace(step.get() + 1) == 0 {
            write();
        }
    }
}

#[test]
fn an_entry_whose_value_changes_ends_at_its_last_key_and_a_copy_under_the_one_before_is_deleted() {
    let (service, old) = two(&[], &[("a", "a/x"), ("b", "c/y"), ("none", "stays")]);
    let reports = run_writing(&service, migration(by_value(&old.store)), || {
        assert_eq!(texts(&service), pairs(&[("a", "a/x"), ("c", "c/y")]));
        old.store.insert("a", "d/x");
        old.store.insert("b", "b/y");
    });
    assert_eq!(left(reports), []);
    assert_eq!(texts(&service), pairs(&[("b", "b/y"), ("d", "d/x")]));
    assert_eq!(texts(&old), pairs(&[("none", "stays")]));
}

#[test]
fn an_outdated_copy_that_is_left_is_not_taken_for_the_entry_of_that_name() {
    // `b` is copied to `a` before the entry `a` is seen in the old namespace.
    let (service, old) = two(&[], &[("b", "a/y")]);
    let reports = run_writing(&service, migration(by_value(&old.store)), || {
        service.store.insert("a", "by the service");
        old.store.insert("a", "e/x");
        old.store.insert("b", "c/y");
    });
    let left = left(reports);
    let [(key, reason)] = &left[..] else { panic!("one is left: {left:?}") };
    assert_eq!(key, "a (in the namespace of the new keys)");
    assert!(reason.contains("holds something else than what was copied there from `b`"), "{reason}");
    assert_eq!(texts(&service), pairs(&[("a", "by the service"), ("c", "c/y"), ("e", "e/x")]));
    assert_eq!(texts(&old), []);
}

async fn seal(entry: MovingEntry, new: &str, (): &()) -> kv_migrations::Result<MovingEntry> {
    let value = format!("{new}:{}", entry.text()?);
    Ok(entry.with_value(value))
}

async fn unseal(entry: MovingEntry, _: &str, (): &()) -> kv_migrations::Result<MovingEntry> {
    let value = entry.text()?.rsplit(':').next().unwrap_or_default().to_owned();
    Ok(entry.with_value(value))
}

#[test]
fn entries_change_on_their_way_and_back() {
    let (service, old) = two(&[], &[("user_1", "Ada"), ("user_2", "Bob")]);
    let rekey = Rekey::prefix("user_", "user_").in_namespace(old.store.clone());
    let make = Migration::rekey("long", "", rekey.changing(seal).changing_back(unseal));
    let runner = service.runner(vec![make]);
    service.request(&runner).unwrap();
    old.store.insert("user_2", "Bobby");
    service.drive(&runner).unwrap();
    assert_eq!(texts(&service), pairs(&[("user_1", "user_1:Ada"), ("user_2", "user_2:Bobby")]));
    assert_eq!(texts(&old), []);
    service.roll_back(&runner).unwrap();
    assert_eq!((texts(&service), texts(&old)), (vec![], pairs(&[("user_1", "Ada"), ("user_2", "Bobby")])));
}

#[test]
fn one_of_several_entries_is_chosen_among_them_the_one_that_keeps_its_key() {
    let (service, new) = two(&[("user_A", "1"), ("user_a", "2"), ("user_b", "3")], &[]);
    let rekey = Rekey::new("user_", |key| Some(key.name.to_lowercase())).into_namespace(new.store.clone());
    let chosen = rekey.choosing(|a, b| Ok(a.json::<u64>()?.cmp(&b.json()?)));
    service.migrate(vec![migration(chosen)]);
    assert_eq!(texts(&new), pairs(&[("user_a", "2"), ("user_b", "3")]));
    assert_eq!(texts(&service), []);

    let (service, new) = two(&[("user_A", "2"), ("user_a", "1")], &[]);
    let rekey = Rekey::new("user_", |key| Some(key.name.to_lowercase())).into_namespace(new.store.clone());
    let chosen = rekey.choosing(|a, b| Ok(a.json::<u64>()?.cmp(&b.json()?)));
    service.migrate(vec![migration(chosen)]);
    assert_eq!((texts(&new), texts(&service)), (pairs(&[("user_a", "2")]), vec![]));
}

#[test]
fn a_table_is_loaded_from_the_services_own_namespace() {
    let (service, old) = two(&[("names", "ada")], &[("user_1", "x")]);
    let rekey = Rekey::by_table(
        "user_",
        async |kv, (): &()| Ok(kv.text("names").await?.unwrap_or_default()),
        |key, name, ()| Ok(Some(format!("{}_{name}", key.name))),
    );
    service.migrate(vec![Migration::rekey("long", "", rekey.in_namespace(old.store.clone()))]);
    assert_eq!(texts(&service), pairs(&[("names", "ada"), ("user_1_ada", "x")]));
}

#[test]
fn copying_and_deleting_are_two_migrations_between_namespaces_too() {
    let (service, old) = two(&[("user_2", "newer")], &[("user_1", "Ada"), ("user_2", "Bob")]);
    let rekey = |id, part: fn(Rekey) -> Rekey| {
        Migration::rekey(id, "", part(Rekey::prefix("user_", "user_").in_namespace(old.store.clone())))
    };
    let copying = || rekey("copying", |rekey| rekey.copying().with_collisions(Collisions::Skip));
    let deleting = || rekey("long", Rekey::deleting);
    let both = pairs(&[("user_1", "Ada"), ("user_2", "newer")]);

    service.migrate(vec![copying()]);
    assert_eq!(
        (texts(&service), texts(&old)),
        (both.clone(), pairs(&[("user_1", "Ada"), ("user_2", "Bob")]))
    );
    // The service writes only the new ones by now.
    old.store.insert("user_3", "deleted by the service");
    let reports = service.drive(&service.runner(vec![copying(), deleting()])).unwrap();
    let keys: Vec<_> = left(reports).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["user_3"]);
    assert_eq!(texts(&service), both);
    assert_eq!(texts(&old), pairs(&[("user_3", "deleted by the service")]));

    service.roll_back(&service.runner(vec![copying(), deleting()])).unwrap();
    assert_eq!(texts(&service), both, "a rollback of the second copies them back");
    assert_eq!(
        texts(&old),
        pairs(&[("user_1", "Ada"), ("user_2", "newer"), ("user_3", "deleted by the service")])
    );
}

/// No bulk get reads the key `42`.
#[test]
fn what_has_to_be_read_by_itself_is_looked_for_in_the_namespace_of_the_new_keys() {
    let (service, old) = two(&[("1", "newer")], &[("1", "one"), ("42", "deleted by the service")]);
    let rekey = || Rekey::prefix("", "").in_namespace(old.store.clone());
    let keys: Vec<_> = left(service.drive(&service.runner(vec![migration(rekey().deleting())])).unwrap())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["42"]);
    assert_eq!(texts(&service), pairs(&[("1", "newer")]));
    assert_eq!(texts(&old), pairs(&[("42", "deleted by the service")]));

    let (service, old) = two(&[], &[("1", "one")]);
    let make = migration(Rekey::prefix("", "").in_namespace(old.store.clone()).copying());
    run_writing(&service, make, || old.store.insert("42", "written under its old key alone"));
    assert_eq!(texts(&service), pairs(&[("1", "one"), ("42", "written under its old key alone")]));
}

#[test]
fn a_changed_entry_that_the_service_writes_in_both_namespaces_is_no_collision() {
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let rekey = Rekey::prefix("user_", "user_").in_namespace(old.store.clone()).changing(seal);
    run_writing(&service, Migration::rekey("long", "", rekey), || {
        old.store.insert("user_1", "Ada Lovelace");
        service.store.insert("user_1", "user_1:Ada Lovelace");
    });
    assert_eq!((texts(&service), texts(&old)), (pairs(&[("user_1", "user_1:Ada Lovelace")]), vec![]));
}

#[test]
fn a_rollback_of_copying_deletes_the_copies() {
    let (service, old) = two(&[("own", "x")], &[("user_1", "Ada")]);
    let rekey = Rekey::prefix("user_", "user_").in_namespace(old.store.clone());
    let runner = service.runner(vec![migration(rekey.copying())]);
    service.drive(&runner).unwrap();
    assert_eq!(texts(&service), pairs(&[("own", "x"), ("user_1", "Ada")]));
    service.roll_back(&runner).unwrap();
    assert_eq!((texts(&service), texts(&old)), (pairs(&[("own", "x")]), pairs(&[("user_1", "Ada")])));
}

#[test]
fn several_prefixes_move_into_another_namespace() {
    let (service, new) = two(&[("group_1", "b"), ("other", "c"), ("user_1", "a")], &[]);
    let rekey = Rekey::prefixes([("user_", "user_"), ("group_", "team_")]);
    service.migrate(vec![migration(rekey.into_namespace(new.store.clone()))]);
    assert_eq!(texts(&new), pairs(&[("team_1", "b"), ("user_1", "a")]));
    assert_eq!(texts(&service), pairs(&[("other", "c")]));
}
