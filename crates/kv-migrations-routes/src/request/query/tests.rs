use kv_migrations::Correction;

use super::*;

fn query(route: &Route, query: &str) -> Result<Query, String> {
    Query::parse(route, Some(query), true).map_err(|InvalidQuery(detail)| detail)
}

fn plain(route: &Route, query: &str) -> Result<Query, String> {
    Query::parse(route, Some(query), false).map_err(|InvalidQuery(detail)| detail)
}

fn migration(action: Action) -> Route {
    Route::Migration { id: "001_a".to_owned(), action }
}

#[test]
fn a_status_can_be_required_to_be_up_to_date() {
    let required = Query { requires_up_to_date: true, ..Query::default() };
    for parse in [plain, query] {
        assert_eq!(parse(&Route::Status, ""), Ok(Query::default()));
        assert_eq!(parse(&Route::Status, "require=up-to-date"), Ok(required.clone()));
    }
}

#[test]
fn a_status_and_a_run_can_expect_a_migration() {
    for (sent, expected) in [("a", "a"), ("a%2Fb%20%C3%BC%25", "a/b ü%"), ("a=b", "a=b"), ("a+b", "a+b")] {
        let expected = Query { expected: Some(expected.to_owned()), ..Query::default() };
        for parse in [plain, query] {
            for route in [Route::Status, Route::Migrate] {
                assert_eq!(parse(&route, &format!("expect={sent}")), Ok(expected.clone()));
                let both = Query { requires_up_to_date: true, ..expected.clone() };
                assert_eq!(parse(&route, &format!("expect={sent}&require=up-to-date")), Ok(both));
            }
            for route in [Route::History, migration(Action::Rollback)] {
                assert!(parse(&route, &format!("expect={sent}")).is_err());
            }
        }
    }
}

#[test]
fn a_misspelt_or_repeated_parameter_is_refused() {
    for misspelt in [
        "require",
        "require=",
        "require=up_to_date",
        "required=up-to-date",
        "x=1",
        "&",
        "require=up-to-date&",
        "require=up-to-date&require=up-to-date",
        "expect",
        "expect=",
        "expect=%FF",
        "expect=a&expect=a",
    ] {
        for route in [Route::Status, Route::Migrate] {
            assert!(plain(&route, misspelt).is_err(), "{misspelt}");
            assert!(query(&route, misspelt).is_err(), "{misspelt}");
        }
    }
    assert!(plain(&Route::Migrate, "dry-run").is_err(), "a run must not start");
    for repeated in ["by=a&by=a", "wait=true&wait=true", "wait", "wait=yes", "wait=false", "by"] {
        let detail = query(&Route::Migrate, repeated).unwrap_err();
        assert_eq!(
            detail,
            "This route takes only `require=up-to-date`, `brief=true`, `expect=ID`, `to=ID`, `steps=N`, `entries=N`, \
             `by=LABEL`, `wait=true`. Each may be given once, and only one of `to`, `steps` and `entries`, which a rollback of \
             several and a baseline need. `entries` excludes `require`. `wait` needs a coordinator. A label has 1 to 200 bytes and no control characters."
        );
    }
}

#[test]
fn a_coordinator_takes_its_parameters_in_any_order() {
    let all = Query {
        requires_up_to_date: true,
        is_brief: true,
        expected: Some("001_a".to_owned()),
        waits: true,
        by: Some("deploy 1&2=ü".to_owned()),
        until: Some(Until::Migration("002".to_owned())),
    };
    for sent in [
        "by=deploy%201%262=%C3%BC&wait=true&expect=001_a&to=002&brief=true&require=up-to-date",
        "brief=true&to=00%32&expect=001%5Fa&require=up-to-date&wait=true&by=deploy%201%262=%c3%bc",
    ] {
        assert_eq!(query(&Route::Migrate, sent), Ok(all.clone()));
    }
    assert!(query(&migration(Action::Rollback), "wait=true&by=me").is_ok());
    assert!(query(&migration(Action::Pause), "by=me").is_ok());
}

#[test]
fn a_route_takes_its_own_parameters_only() {
    assert_eq!(query(&Route::History, "by=me"), Err("This route takes only an empty query.".to_owned()));
    assert!(query(&Route::Status, "by=me").is_err());
    assert!(query(&migration(Action::Rollback), "require=up-to-date").is_err());
    assert!(query(&migration(Action::Cancel), "wait=true").is_err());
}

#[test]
fn without_a_coordinator_there_is_no_waiting() {
    for (route, sent) in [
        (Route::Migrate, "wait=true"),
        (Route::Migrate, "by=me&wait=true"),
        (Route::Rollback, "to=a&wait=true"),
        (migration(Action::Rollback), "wait=true"),
    ] {
        assert!(query(&route, sent).is_ok());
        let detail = plain(&route, sent).expect_err("nothing waits without a coordinator");
        assert!(!detail.contains("wait=true"), "{detail}");
        assert!(detail.contains("`wait` needs a coordinator"), "{detail}");
    }
    assert!(plain(&migration(Action::Rollback), "require=up-to-date").is_err());
}

#[test]
fn a_run_goes_to_a_migration_or_over_a_number_of_them_or_of_entries() {
    for (sent, until) in [
        ("to=a%2Fb", Until::Migration("a/b".to_owned())),
        ("steps=1", Until::Steps(1)),
        ("entries=999999999", Until::Entries(999_999_999)),
    ] {
        for parse in [plain, query] {
            let expected = Query { until: Some(until.clone()), ..Query::default() };
            assert_eq!(parse(&Route::Migrate, sent), Ok(expected.clone()));
            assert!(parse(&Route::Status, sent).is_err());
            let is_planned = !matches!(until, Until::Entries(_));
            assert_eq!(parse(&Route::Plan, sent).ok(), is_planned.then_some(expected));
        }
    }
    for refused in [
        "to=",
        "to=%FF",
        "steps=0",
        "steps=",
        "steps=-1",
        "steps=+1",
        "steps=1.0",
        "steps=1000000000",
        "entries=00",
        "entries=1a",
        "to=a&to=a",
        "to=a&steps=1",
        "entries=1&steps=1",
    ] {
        assert!(plain(&Route::Migrate, refused).is_err(), "{refused}");
        assert!(query(&Route::Migrate, refused).is_err(), "{refused}");
    }
}

#[test]
fn a_few_entries_are_never_up_to_date() {
    for sent in ["entries=1&require=up-to-date", "require=up-to-date&entries=1"] {
        let detail = plain(&Route::Migrate, sent).expect_err("the two contradict each other");
        assert!(detail.contains("excludes"), "{detail}");
    }
}

#[test]
fn what_changes_the_ledger_takes_a_label_without_a_coordinator() {
    let labelled = Query { by: Some("deploy 1".to_owned()), ..Query::default() };
    assert_eq!(plain(&Route::Migrate, "by=deploy%201"), Ok(labelled.clone()));
    let corrections = [Correction::Reset, Correction::Mark, Correction::Unmark].map(Action::Correct);
    for action in corrections.into_iter().chain([Action::Rollback]) {
        assert_eq!(plain(&migration(action), "by=deploy%201"), Ok(labelled.clone()));
        for refused in ["by=", "by=a&by=b", "by=a&wait=true", "by=a%0Ab", "force", "to=a"] {
            assert!(plain(&migration(action), refused).is_err(), "{refused}");
        }
    }
}

#[test]
fn a_baseline_names_its_last_migration() {
    let last = Query { until: Some(Until::Migration("a/b".to_owned())), ..Query::default() };
    let labelled = Query { by: Some("me".to_owned()), ..last.clone() };
    for parse in [plain, query] {
        assert_eq!(parse(&Route::Baseline, "to=a%2Fb"), Ok(last.clone()));
        assert_eq!(parse(&Route::Baseline, "by=me&to=a%2Fb"), Ok(labelled.clone()));
        for refused in ["", "by=me", "to=", "to=a&to=b", "steps=1", "entries=1", "to=a&wait=true", "expect=a"]
        {
            let detail = parse(&Route::Baseline, refused).expect_err(refused);
            assert!(detail.starts_with("This route takes only `to=ID`, `by=LABEL`. "), "{detail}");
        }
    }
}

#[test]
fn a_rollback_of_several_says_how_far_it_goes() {
    for (sent, until) in [
        ("to=a%2Fb", Until::Migration("a/b".to_owned())),
        ("to=all", Until::Migration("all".to_owned())),
        ("steps=2", Until::Steps(2)),
        ("steps=all", Until::End),
    ] {
        let expected = Query { until: Some(until), ..Query::default() };
        for parse in [plain, query] {
            assert_eq!(parse(&Route::Rollback, sent), Ok(expected.clone()));
            let labelled = Query { by: Some("me".to_owned()), ..expected.clone() };
            assert_eq!(parse(&Route::Rollback, &format!("by=me&{sent}")), Ok(labelled));
        }
        assert!(query(&Route::Rollback, &format!("{sent}&wait=true")).is_ok_and(|query| query.waits));
    }
    for refused in [
        "",
        "by=me",
        "to=",
        "steps=0",
        "steps=",
        "steps=-1",
        "steps=ALL",
        "all",
        "entries=1",
        "to=a&steps=1",
        "steps=all&to=a",
        "steps=all&steps=all",
        "to=a&to=b",
        "expect=a&to=a",
        "to=a&require=up-to-date",
    ] {
        let detail = plain(&Route::Rollback, refused).expect_err(refused);
        assert!(detail.starts_with("This route takes only `to=ID`, `steps=N|all`, `by=LABEL`. "), "{detail}");
        assert!(query(&Route::Rollback, refused).is_err(), "{refused}");
    }
    assert!(plain(&Route::Migrate, "steps=all").is_err(), "a run of all needs no number");
}

#[test]
fn the_request_that_finishes_a_rollback_names_what_stays() {
    assert_eq!(rollback_request(Some("a/b ü")), "/migrations/rollback?to=a%2Fb%20%C3%BC");
    assert_eq!(rollback_request(None), "/migrations/rollback?steps=all");
}

#[test]
fn a_label_is_text() {
    let long = |bytes: usize| format!("by={}", "a".repeat(bytes));
    assert!(query(&Route::Migrate, &long(200)).is_ok());
    for label in ["by=", "by=%FF", "by=a%0Ab", "by=%00", "by=%C2%85", &long(201)] {
        assert!(query(&Route::Migrate, label).unwrap_err().contains("A label has 1 to 200 bytes"), "{label}");
    }
}
