//! The query of a request. What is not known is refused: a parameter that is misspelt must not pass for obeyed.

use std::mem::replace;

use percent_encoding::percent_decode_str;

use crate::problem::Problem;
use crate::route::{Action, Route};

const REQUIRE: &str = "require=up-to-date";
const WAIT: &str = "wait=true";
const BY: &str = "by=LABEL";
/// The most bytes of a label.
const LABEL_BYTES: usize = 200;

/// What the caller asks for beside the route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Whether anything but that every migration is applied is to be an error.
    pub(crate) require_up_to_date: bool,
    /// Whether to wait for a run in progress, and for the end of one's own.
    pub(crate) waits: bool,
    /// Who asks.
    pub(crate) by: Option<String>,
}

impl Query {
    /// Where nobody coordinates.
    pub(crate) fn of(route: &Route, query: Option<&str>) -> Result<Self, Box<Problem>> {
        let is_taken = parameters(route).contains(&REQUIRE);
        Err(Problem::invalid_query(match query.unwrap_or_default() {
            "" => return Ok(Self::default()),
            REQUIRE if is_taken => return Ok(Self { require_up_to_date: true, ..Self::default() }),
            query if query.split('&').any(needs_coordinator) => "`by` and `wait` need a coordinator.",
            _ if is_taken => "This route takes `require=up-to-date`, and nothing else.",
            _ => "This route takes no query.",
        }))
    }

    /// Where there is a coordinator, which can heed who asks, and whether they wait.
    pub(crate) fn of_coordinated(route: &Route, query: Option<&str>) -> Result<Self, Box<Problem>> {
        let mut known = Self::default();
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(known) };
        for parameter in query.split('&') {
            let label = parameter.strip_prefix("by=");
            let usage = if label.is_some() { BY } else { parameter };
            let is_refused = match label {
                _ if !parameters(route).contains(&usage) => true,
                // Or is there already.
                Some(label) => known.by.replace(decoded(label)?).is_some(),
                None if usage == WAIT => replace(&mut known.waits, true),
                None => replace(&mut known.require_up_to_date, true),
            };
            if is_refused {
                return Err(Problem::invalid_query(&taken(route)));
            }
        }
        Ok(known)
    }
}

fn needs_coordinator(parameter: &str) -> bool {
    parameter == WAIT || parameter.starts_with("by=")
}

/// What a route takes where there is a coordinator.
fn parameters(route: &Route) -> &'static [&'static str] {
    match route {
        Route::Status => &[REQUIRE],
        Route::History => &[],
        Route::Migrate => &[REQUIRE, BY, WAIT],
        Route::Of { action: Action::Rollback, .. } => &[BY, WAIT],
        Route::Of { .. } => &[BY],
    }
}

/// What a refusal says that a route takes.
fn taken(route: &Route) -> String {
    match parameters(route) {
        [] => "This route takes no query.".to_owned(),
        parameters => {
            format!("This route takes `{}`, each once, and nothing else.", parameters.join("`, `"))
        }
    }
}

/// A label as it was before it was percent-encoded.
fn decoded(label: &str) -> Result<String, Box<Problem>> {
    let label = percent_decode_str(label).decode_utf8().ok();
    label
        .filter(|label| (1..=LABEL_BYTES).contains(&label.len()) && !label.contains(char::is_control))
        .map(Into::into)
        .ok_or_else(|| {
            Problem::invalid_query(
                "A label is text of 1 to 200 bytes without control characters, percent-encoded.",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(route: &Route, query: &str) -> Result<Query, String> {
        Query::of_coordinated(route, Some(query)).map_err(|problem| problem.detail)
    }

    fn plain(route: &Route, query: &str) -> Result<Query, String> {
        Query::of(route, Some(query)).map_err(|problem| problem.detail)
    }

    fn of(action: Action) -> Route {
        Route::Of { id: "001_a".to_owned(), action }
    }

    #[test]
    fn a_status_can_be_required_to_be_up_to_date() {
        let required = Query { require_up_to_date: true, ..Query::default() };
        for ask in [query, plain] {
            assert_eq!(ask(&Route::Status, ""), Ok(Query::default()));
            assert_eq!(ask(&Route::Status, "require=up-to-date"), Ok(required.clone()));
        }
    }

    #[test]
    fn what_is_misspelt_or_repeated_is_refused() {
        for misspelt in [
            "require",
            "require=",
            "require=up_to_date",
            "required=up-to-date",
            "x=1",
            "&",
            "require=up-to-date&",
            "require=up-to-date&require=up-to-date",
        ] {
            for ask in [query, plain] {
                assert!(ask(&Route::Status, misspelt).is_err(), "{misspelt}");
                assert!(ask(&Route::Migrate, misspelt).is_err(), "{misspelt}");
            }
        }
        assert!(plain(&Route::Migrate, "dry-run").is_err(), "a run must not start");
        for repeated in ["by=a&by=a", "wait=true&wait=true", "wait", "wait=yes", "wait=false", "by"] {
            let detail = query(&Route::Migrate, repeated).unwrap_err();
            assert_eq!(
                detail,
                "This route takes `require=up-to-date`, `by=LABEL`, `wait=true`, each once, and nothing else."
            );
        }
    }

    #[test]
    fn who_asks_and_waits_is_known_to_a_coordinator_in_any_order() {
        let all = Query { require_up_to_date: true, waits: true, by: Some("deploy 1&2=ü".to_owned()) };
        for sent in [
            "by=deploy%201%262=%C3%BC&wait=true&require=up-to-date",
            "require=up-to-date&wait=true&by=deploy%201%262=%c3%bc",
        ] {
            assert_eq!(query(&Route::Migrate, sent), Ok(all.clone()));
        }
        assert!(query(&of(Action::Rollback), "wait=true&by=me").is_ok());
        assert!(query(&of(Action::Pause), "by=me").is_ok());
    }

    #[test]
    fn a_route_takes_its_own_parameters_only() {
        assert_eq!(query(&Route::History, "by=me"), Err("This route takes no query.".to_owned()));
        assert!(query(&Route::Status, "by=me").is_err());
        assert!(query(&of(Action::Rollback), "require=up-to-date").is_err());
        assert!(query(&of(Action::Cancel), "wait=true").is_err());
    }

    #[test]
    fn without_a_coordinator_there_is_nobody_to_wait_for() {
        for sent in ["by=me", "wait=true", "require=up-to-date&wait=true"] {
            let detail = plain(&Route::Migrate, sent).unwrap_err();
            assert_eq!(detail, "`by` and `wait` need a coordinator.");
        }
        assert_eq!(plain(&of(Action::Rollback), "x"), Err("This route takes no query.".to_owned()));
    }

    #[test]
    fn a_label_is_text() {
        let long = |bytes: usize| format!("by={}", "a".repeat(bytes));
        assert!(query(&Route::Migrate, &long(200)).is_ok());
        for label in ["by=", "by=%FF", "by=a%0Ab", "by=%00", "by=%C2%85", &long(201)] {
            assert!(query(&Route::Migrate, label).unwrap_err().starts_with("A label is"), "{label}");
        }
    }
}
