//! What the texts of errors tell: where, and never a value; of a bounded size; without JavaScript's stacks.

use futures::executor::block_on;
use kv_migrations::kv::MemoryStore;
use kv_migrations::{Backfill, BoxError, Fold, Migration};
use serde::Deserialize;

use crate::object::Object;
use crate::service::{Service, failure};

type Make = fn() -> Migration;

/// Data of a customer.
const SECRET: &str = "078-05-1120";
const VALUE: &str = r#"{"contact":{"number":"078-05-1120"}}"#;

#[derive(Debug, Deserialize)]
struct Customer {
    #[allow(dead_code, reason = "only read")]
    contact: Contact,
}

#[derive(Debug, Deserialize)]
struct Contact {
    #[allow(dead_code, reason = "only read")]
    number: u64,
}

/// Everything that is kept or shown of a run that fails.
fn shown(service: &Service, migration: impl Fn() -> Migration) -> String {
    let failed = failure(block_on(service.runner(vec![migration()]).run_pending(&())));
    let status = block_on(service.runner(vec![migration()]).status()).unwrap();
    let markers = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("migration_"));
    let markers: Vec<String> = markers
        .map(|(key, value)| format!("{:?} {}", key.metadata, String::from_utf8_lossy(&value)))
        .collect();
    let status = serde_json::to_string(&status).unwrap();
    [failed.to_string(), failed.advice(), service.log.lines().join("\n"), status, markers.join("\n")]
        .join("\n")
}

fn service() -> Service {
    let service = Service::new();
    service.put("customer_1", VALUE, Some(VALUE));
    service
}

#[test]
fn json_that_is_not_as_expected_is_named_by_line_column_and_field_and_not_by_value() {
    let place = "see line 1, column 34, at `contact.number`";
    let reading: [(&str, Make); 5] = [
        ("the metadata is not the expected JSON: ", || {
            Migration::backfill(
                "001",
                "",
                Backfill::new("customer_", async |_, record, ()| {
                    record.metadata().ok_or("none")?.parse::<Customer>()?;
                    Ok(())
                }),
            )
        }),
        ("the value of `customer_1` is not the expected JSON: ", || {
            Migration::backfill(
                "001",
                "",
                Backfill::new("customer_", async |_, record, ()| {
                    record.json::<Customer>()?;
                    Ok(())
                }),
            )
        }),
        ("the value of `customer_1` is not the expected JSON: ", || {
            Migration::new("001", "", async |kv, ()| {
                kv.json::<Customer>("customer_1").await?;
                Ok(())
            })
        }),
        ("the metadata is not the expected JSON: ", || {
            Migration::new("001", "", async |kv, ()| {
                let entry = kv.get("customer_1").await?.ok_or("none")?;
                entry.metadata.ok_or("none")?.parse::<Customer>()?;
                Ok(())
            })
        }),
        ("the value of `customer_1` is not the expected JSON: ", || {
            let each = |(): &mut (), record: &kv_migrations::Record, (): &()| {
                record.json::<Customer>()?;
                Ok(())
            };
            Migration::fold("001", "", Fold::new("customer_", || (), each, |(), ()| Ok(Vec::new())))
        }),
    ];
    for (what, migration) in reading {
        let shown = shown(&service(), migration);
        assert!(shown.contains(&format!("{what}{place}")), "{shown}");
        assert!(!shown.contains(SECRET), "a value is shown: {shown}");
    }
}

#[test]
fn an_error_of_serde_json_itself_is_shown_without_the_value() {
    let parsing: [Make; 4] = [
        || {
            Migration::new("001", "", async |kv, ()| {
                let text = kv.text("customer_1").await?.ok_or("none")?;
                serde_json::from_str::<Customer>(&text)?;
                Ok(())
            })
        },
        || {
            let each = async |_: &_, record: &kv_migrations::Record, (): &()| {
                serde_json::from_slice::<Customer>(record.value())?;
                Ok(())
            };
            Migration::backfill("001", "", Backfill::new("customer_", each))
        },
        || {
            let each = async |_: &_, record: &kv_migrations::Record, (): &()| {
                serde_json::from_slice::<Customer>(record.value())?;
                Ok(())
            };
            Migration::backfill("001", "", Backfill::new("customer_", each).skip_failures(5))
        },
        || {
            let each = |(): &mut (), record: &kv_migrations::Record, (): &()| {
                serde_json::from_slice::<Customer>(record.value())?;
                Ok(())
            };
            Migration::fold("001", "", Fold::new("customer_", || (), each, |(), ()| Ok(Vec::new())))
        },
    ];
    for migration in parsing {
        let shown = shown(&service(), migration);
        assert!(shown.contains("JSON of another shape than expected: see line 1, column 34"), "{shown}");
        assert!(!shown.contains(SECRET), "a value is shown: {shown}");
    }
}

#[test]
fn an_error_of_megabytes_is_bounded_wherever_it_is_kept_or_shown() {
    let huge = || {
        Migration::new("001", "", async |_, ()| {
            Err(BoxError::from(format!("the service failed{}: ask somebody", "x".repeat(5_000_000))))
        })
    };
    let service = Service::new();
    let shown = shown(&service, huge);
    assert!(shown.len() < 12_000, "{} bytes are shown", shown.len());
    assert!(shown.contains("the service failed") && shown.contains(": ask somebody"), "{shown}");

    let object = Object::new();
    let coordinator = object.instance(vec![huge()]);
    let error = object.migrate(&coordinator).expect_err("it fails").to_string();
    let history = serde_json::to_string(&coordinator.history().unwrap()).unwrap();
    assert!(error.len() < 3_000 && history.len() < 5_000, "{} and {} bytes", error.len(), history.len());
}

#[test]
fn a_key_of_megabytes_is_bounded_in_its_error() {
    let huge = || {
        Migration::new("001", "", async |kv, ()| {
            Ok(kv.put(&"k".repeat(5_000_000), "").clear_metadata().clear_expiration().await?)
        })
    };
    let shown = shown(&Service::new(), huge);
    assert!(shown.len() < 12_000, "{} bytes are shown", shown.len());
}

#[test]
fn a_stack_of_javascript_is_cut_to_its_message() {
    let throwing = || {
        Migration::new("001", "", async |_, ()| {
            // As `env.kv("API_KEY")?` fails, where that is a secret.
            let stack = "    at get (index.js:12:7)\n".repeat(30);
            let message = "TypeError: t.get is not a function";
            Err(BoxError::from(format!("js error: JsValue({message}\n{message}\n{stack})")))
        })
    };
    let shown = shown(&Service::new(), throwing);
    assert!(shown.contains("js error: TypeError: t.get is not a function"), "{shown}");
    assert!(!shown.contains("index.js"), "{shown}");
}

#[test]
fn a_metadata_error_can_be_passed_on_and_read() {
    let service = Service::new();
    service.put("customer_1", "", Some(VALUE));
    let store: MemoryStore = service.store.clone();
    let (key, _) = store.entries().remove(0);
    let error = key.metadata.unwrap().parse::<Customer>().unwrap_err();
    assert_eq!((error.json_error().line, error.json_error().path.as_str()), (1, "contact.number"));
}

/// An error with a cause, as services define them.
#[derive(Debug)]
struct Outer(std::io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no customer")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn the_error_of_a_fold_keeps_its_causes() {
    let each = |(): &mut (), _: &kv_migrations::Record, (): &()| {
        Err(Outer(std::io::Error::other("no connection")).into())
    };
    let fold = Fold::new("customer_", || (), each, |(), ()| Ok(Vec::new()));
    let failed = failure(block_on(service().runner(vec![Migration::fold("001", "", fold)]).run_pending(&())));
    assert_eq!(failed.reason, "at the entry `customer_1`: no customer: no connection");
    let own = failed.source.source().expect("its source is the closure's error");
    assert!(own.is::<Outer>() && own.source().is_some(), "{own:?}");
}

#[test]
fn the_error_of_an_entry_is_told_whole_where_it_fails_the_migration() {
    let service = Service::new();
    let key = format!("customer_{}", "k".repeat(293));
    service.put(&key, "{}", None);
    let long = format!("the start, {}, the end", "x".repeat(400));
    let text = long.clone();
    let each = move || {
        let text = text.clone();
        Backfill::new("customer_", async move |_, _, ()| Err(BoxError::from(text.clone())))
    };
    let run = |backfill| {
        let migration = Migration::backfill("001", "", backfill);
        failure(block_on(service.runner(vec![migration]).run_pending(&()))).reason
    };
    assert_eq!(run(each()), format!("at the entry `{key}`: {long}"));
    let skipped = run(each().skip_failures(1));
    assert!(skipped.contains("the start") && skipped.contains("the end"), "both ends are told: {skipped}");
    assert!(!skipped.contains(&long), "one of many is shortened: {skipped}");
}
