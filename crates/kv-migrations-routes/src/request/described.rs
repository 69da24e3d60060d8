//! Whether `docs/reference/openapi.json` describes the routes that there are, with their methods and queries.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use kv_migrations::Correction;
use serde_json::Value;

use super::dry_run::DryRunQuery;
use super::query::names;
use super::route::{Action, Route};

/// The description by path, method and operation.
fn described() -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut description: Value =
        serde_json::from_str(include_str!("../../../../docs/reference/openapi.json")).expect("it is JSON");
    let shared = description["components"]["parameters"].take();
    let mut paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(description["paths"].take()).expect("it has paths");
    for operations in paths.values_mut() {
        operations.remove("parameters");
        for parameter in operations.values_mut().flat_map(|operation| {
            operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
        }) {
            if let Some(name) = parameter["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
                *parameter = shared[name].clone();
            }
        }
    }
    paths
}

/// All routes, with the id that [`described`] has in their paths.
fn routes() -> Vec<Route> {
    let corrections = [Correction::Reset, Correction::Mark, Correction::Unmark].map(Action::Correct);
    let actions =
        [Action::Rollback, Action::Pause, Action::Resume, Action::Cancel].into_iter().chain(corrections);
    let of_one = actions.map(|action| Route::Migration { id: "id".to_owned(), action });
    [
        Route::Status,
        Route::Plan,
        Route::History,
        Route::Migrate,
        Route::Baseline,
        Route::Rollback,
        Route::DryRun,
        Route::Page,
    ]
    .into_iter()
    .chain(of_one)
    .collect()
}

/// The path of a route as it is described.
fn template(route: &Route) -> String {
    match route {
        Route::Migration { .. } => route.path().replace("/id/", "/{id}/"),
        _ => route.path(),
    }
}

/// The names of the queries of an operation.
fn queries(operation: &Value) -> BTreeSet<&str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.filter(|parameter| parameter["in"] == "query").filter_map(|one| one["name"].as_str()).collect()
}

#[test]
fn all_routes_are_described_and_no_other() {
    let expected: BTreeSet<String> = routes().iter().map(template).collect();
    assert_eq!(described().into_keys().collect::<BTreeSet<_>>(), expected, "left: openapi.json");
}

#[test]
fn each_route_is_described_with_the_methods_that_it_takes() {
    let described = described();
    for route in routes() {
        let operations = &described[&template(&route)];
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let is_described = operations.contains_key(&method.as_str().to_lowercase());
            assert_eq!(route.check_method(&method).is_ok(), is_described, "{method} {route:?}");
        }
    }
}

#[test]
fn each_route_is_described_with_the_queries_that_it_takes() {
    let described = described();
    for route in routes() {
        for operation in described[&template(&route)].values() {
            let queries = queries(operation);
            if route == Route::DryRun {
                let value = |name| if name == "values" { "true" } else { "1" };
                for name in queries {
                    let query = format!("{name}={}", value(name));
                    assert!(DryRunQuery::parse(Some(&query)).is_ok(), "{query}");
                }
            } else {
                assert_eq!(queries, names(&route).into_iter().collect(), "{route:?}; left: openapi.json");
            }
        }
    }
}
