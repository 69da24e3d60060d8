//! A backfill of records of a type, which names only some of their fields.

use std::collections::{BTreeMap, HashMap};

use futures::executor::block_on;
use kv_migrations::kv::MemoryStore;
use kv_migrations::{Backfill, Migration, RunReport};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::service::{InitialEntry, Service, failure};

#[derive(Serialize, Deserialize)]
struct Customer {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    orders: Vec<Order>,
    #[serde(default)]
    address: Address,
}

#[derive(Serialize, Deserialize)]
struct Order {
    total: f64,
}

#[derive(Default, Serialize, Deserialize)]
struct Address {
    country: Option<String>,
}

fn migration(backfill: Backfill) -> Vec<Migration> {
    vec![Migration::backfill("long", "", backfill)]
}

fn changing(change: impl Fn(&mut Customer) + Send + Sync + 'static) -> Backfill {
    Backfill::typed("customer_", async move |_, _, customer: &mut Customer, ()| {
        change(customer);
        Ok(())
    })
}

fn service(value: &str) -> Service {
    let service = Service::new();
    service.put("customer_1", value, Some(r#"{"plan":"free"}"#));
    service
}

/// What becomes of a value.
fn changed(value: &str, change: impl Fn(&mut Customer) + Send + Sync + 'static) -> String {
    let service = service(value);
    service.migrate(migration(changing(change)));
    service.text("customer_1").expect("it is still there")
}

fn run(service: &Service, backfill: Backfill) -> RunReport {
    block_on(service.runner(migration(backfill)).run_pending(&())).expect("it succeeds")
}

/// As somebody wrote it by hand, with numbers that no `f64` and no `u64` has.
const HARD: &str = r#"{
  "zip": 1234567890.0,
  "name": "Ada",  "balance": 12.50,
  "id": 123456789012345678901234567890,
  "address": { "street": "\u00dcber 1", "country": null },
  "orders": [ {"total": 10.00, "sku": 7e2}, {"total": 5, "sku": 8.0} ],
  "spent": 1e400
}"#;

#[test]
fn fields_that_the_type_does_not_name_stay_as_they_are_written() {
    let changed_by_hand = HARD
        .replace(r#""Ada""#, r#""ADA""#)
        .replace(r#""country": null"#, r#""country": "DE""#)
        .replace(r#""total": 5"#, r#""total": 6.0"#);
    let verified = changed_by_hand.replace("1e400\n}", "1e400,\n  \"verified\": true\n}");
    let change = |customer: &mut Customer| {
        customer.name = customer.name.to_uppercase();
        customer.address.country = Some("DE".to_owned());
        customer.orders[1].total += 1.0;
        customer.verified = Some(true);
    };
    assert_eq!(changed(HARD, change), verified);
    assert_eq!(changed(&verified, |customer| customer.verified = None), changed_by_hand);
}

#[test]
fn nothing_is_written_if_nothing_changed() {
    let value = r#"{"name":"Ada","orders":[{"total":1.50}],"x":1}"#;
    let service = service(value);
    let report = run(&service, changing(|customer| customer.name = customer.name.trim().to_owned()));
    let entries = report.details[0].entries.unwrap();
    assert_eq!((entries.seen, entries.changed), (1, 0));
    assert_eq!(service.text("customer_1").as_deref(), Some(value));
}

#[test]
fn a_write_keeps_metadata_and_expiration_and_a_byte_order_mark() {
    let entry = InitialEntry {
        metadata: Some(r#"{"plan":"free"}"#),
        ttl: Some(100_000),
        ..InitialEntry::new("customer_1", "\u{feff} {\"name\":\"Ada\"}\n")
    };
    let service = Service::holding(&[entry], 900);
    let before = service.store.entries()[0].0.clone();
    service.migrate(migration(changing(|customer| customer.name = "Eve".to_owned()).read_singly()));
    let (key, value) = service.store.entries().swap_remove(0);
    assert_eq!(key, before);
    assert_eq!(String::from_utf8(value).unwrap(), "\u{feff} {\"name\":\"Eve\"}\n");
}

#[test]
fn a_value_of_another_shape_is_told_by_the_path_of_its_field() {
    let service = service(r#"{"name":"Ada","orders":[{"total":1},{"total":"secret"}]}"#);
    let failed = failure(service.drive(&service.runner(migration(changing(|_| ())))));
    assert_eq!(
        failed.reason,
        "at the entry `customer_1`: the value of `customer_1` is not the expected JSON: see line 1, column 53, at \
         `orders[1].total`"
    );
}

#[test]
fn the_closure_may_delete_or_write_the_entry_itself() {
    let service = Service::new();
    for name in ["gone", "written", "typed"] {
        service.store.insert(&format!("customer_{name}"), format!(r#"{{"name":"{name}"}}"#));
    }
    let backfill = Backfill::typed("customer_", async |_, record, customer: &mut Customer, ()| {
        customer.name = "typed".to_owned();
        match record.name() {
            "customer_gone" => record.delete().await?,
            "customer_written" => record.put("by the record").await?,
            _ => {}
        }
        Ok(())
    });
    service.migrate(migration(backfill));
    assert_eq!(service.text("customer_gone"), None);
    assert_eq!(service.text("customer_written").as_deref(), Some("by the record"));
    assert_eq!(service.text("customer_typed").as_deref(), Some(r#"{"name":"typed"}"#));
}

#[test]
fn elements_keep_their_other_fields_when_some_are_taken_out_moved_or_added() {
    let value = r#"{"name":"Ada","orders":[{"total":1.0,"sku":"a"},{"total":2.0,"sku":"b"},{"total":3.0,"sku":"c"}]}"#;
    let orders = |value: &str| value.split("orders\":").nth(1).unwrap().trim_end_matches('}').to_owned();
    let without_second =
        changed(value, |customer| customer.orders.retain(|order| (order.total - 2.0).abs() > 0.5));
    assert_eq!(orders(&without_second), r#"[{"total":1.0,"sku":"a"},{"total":3.0,"sku":"c"}]"#);
    let backwards = changed(value, |customer| customer.orders.reverse());
    assert_eq!(
        orders(&backwards),
        r#"[{"total":3.0,"sku":"c"},{"total":2.0,"sku":"b"},{"total":1.0,"sku":"a"}]"#
    );
    let more = changed(value, |customer| customer.orders.insert(0, Order { total: 0.5 }));
    assert!(orders(&more).starts_with(r#"[{"total":0.5},{"total":1.0,"sku":"a"}"#), "{more}");
}

#[test]
fn a_change_that_could_lose_a_field_of_an_element_fails_and_writes_nothing() {
    let value = r#"{"name":"Ada","orders":[{"total":1,"sku":"a"},{"total":2,"sku":"b"}]}"#;
    let service = service(value);
    let changing = changing(|customer| {
        customer.orders.remove(0);
        customer.orders[0].total = 7.0;
    });
    let failed = failure(service.drive(&service.runner(migration(changing))));
    assert!(failed.reason.starts_with("at the entry `customer_1`: an array changed so that"), "{failed}");
    assert_eq!(service.text("customer_1").as_deref(), Some(value));
}

#[test]
fn a_change_that_would_be_read_as_something_else_fails_and_writes_nothing() {
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "name")]
        full_name: String,
    }
    let service = service(r#"{"name":"Ada"}"#);
    let renaming = Backfill::typed("customer_", async |_, _, renamed: &mut Renamed, ()| {
        renamed.full_name.push_str(" Lovelace");
        Ok(())
    });
    let failed = failure(service.drive(&service.runner(migration(renaming))));
    assert!(failed.reason.contains("would not be read as it was to be written"), "{failed}");
    assert_eq!(service.text("customer_1").as_deref(), Some(r#"{"name":"Ada"}"#));
}

#[test]
fn maps_and_sets_may_change_their_order() {
    #[derive(Serialize, Deserialize)]
    struct Unordered {
        map: HashMap<String, u8>,
        set: std::collections::HashSet<String>,
    }
    let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let map: BTreeMap<&String, u8> = names.iter().zip(0..).collect();
    let service = service(&json!({ "x": 1, "map": map, "set": names }).to_string());
    let backfill = Backfill::typed("customer_", async |_, _, unordered: &mut Unordered, ()| {
        unordered.map.insert("more".to_owned(), 40);
        unordered.map.remove("n7");
        unordered.set.insert("more".to_owned());
        Ok(())
    });
    service.migrate(migration(backfill));
    let value: Value = serde_json::from_str(&service.text("customer_1").unwrap()).unwrap();
    assert_eq!((value["x"].as_u64(), value["map"]["more"].as_u64()), (Some(1), Some(40)));
    assert_eq!((value["map"].as_object().unwrap().len(), value["set"].as_array().unwrap().len()), (40, 41));
}

#[test]
fn every_field_of_a_map_of_20_000_is_changed() {
    type All = BTreeMap<String, u64>;
    let all: All = (0..20_000).map(|number| (format!("field {number}"), number)).collect();
    let service = service(&serde_json::to_string(&all).unwrap());
    let backfill = Backfill::typed("customer_", async |_, _, all: &mut All, ()| {
        for value in all.values_mut() {
            *value += 1;
        }
        Ok(())
    });
    service.migrate(migration(backfill));
    let changed: All = serde_json::from_str(&service.text("customer_1").unwrap()).unwrap();
    assert_eq!(changed.values().sum::<u64>(), all.values().sum::<u64>() + 20_000);
}

/// Fields with values as text, of which serde must not touch a byte.
fn raw() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        Just("1e400".to_owned()),
        Just(r#""\u00dc \ud83d\ude00 \"}{,:""#.to_owned()),
        Just("[ 1.0 , {\"name\": []} ]".to_owned()),
        Just("null".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The model: the text is put together from its fields, with the changed ones in their places.
    #[test]
    fn any_other_fields_stay_byte_for_byte(
        fields in proptest::collection::vec(("[a-z]{1,3}_[é\"\\\\]?", raw()), 0..6),
        at in 0_usize..7,
        verified in any::<Option<bool>>(),
        name in "[a-z\"\\\\ü]{0,6}",
        space in "[ \n\t]{0,2}",
    ) {
        let text = |name: &str, verified: Option<bool>, is_added: bool| {
            let mut all: Vec<(String, String)> = fields.iter().map(|(key, raw)| (json!(key).to_string(), raw.clone())).collect();
            let at = at.min(all.len());
            all.insert(at, (r#""name""#.to_owned(), json!(name).to_string()));
            if let Some(verified) = verified {
                let place = if is_added { all.len() } else { at };
                all.insert(place, (r#""verified""#.to_owned(), verified.to_string()));
            }
            let members: Vec<String> = all.iter().map(|(key, raw)| format!("{space}{key}:{raw}")).collect();
            format!("{{{}{space}}}", members.join(","))
        };
        let service = service(&text(&name, verified, false));
        let report = run(&service, changing(|customer| {
            customer.name.push('!');
            customer.verified.get_or_insert(true);
        }));
        prop_assert_eq!(report.details[0].entries.unwrap().changed, 1);
        let expected = text(&format!("{name}!"), verified.or(Some(true)), verified.is_none());
        prop_assert_eq!(service.text("customer_1").unwrap(), expected);
    }
}

/// The values after a change by hand, with all fields in a map.
fn by_hand(store: &MemoryStore) -> Vec<Map<String, Value>> {
    let entries = store.entries().into_iter().filter(|(key, _)| key.name.starts_with("customer_"));
    entries.map(|(_, value)| serde_json::from_slice(&value).expect("it is JSON")).collect()
}

#[test]
fn a_typed_backfill_does_what_one_over_maps_does() {
    let services = [(); 2].map(|()| {
        let service = Service::new();
        for number in 0..250 {
            let verified =
                [json!({}), json!({"verified": true}), json!({"verified": null})][number % 3].clone();
            let mut value = json!({"name": format!("n{number}"), "more": {"deep": [number]}});
            value.as_object_mut().unwrap().extend(verified.as_object().unwrap().clone());
            service.store.insert(&format!("customer_{number}"), value.to_string());
        }
        service
    });
    let [typed, mapped] = services;
    typed.migrate(migration(changing(|customer| customer.verified = customer.verified.or(Some(false)))));
    let over_maps = Backfill::new("customer_", async |_, record, ()| {
        let mut fields: Map<String, Value> = record.json()?;
        if fields.get("verified").is_none_or(Value::is_null) {
            fields.insert("verified".to_owned(), false.into());
            record.put_json(&fields).await?;
        }
        Ok(())
    });
    mapped.migrate(migration(over_maps));
    assert_eq!(by_hand(&typed.store), by_hand(&mapped.store));
}
