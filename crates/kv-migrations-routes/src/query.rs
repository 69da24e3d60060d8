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

/// Whether anything but that every migration is applied is to be an error: all that can be asked for where nobody
/// coordinates.
pub(crate) fn requires_up_to_date(route: &Route, query: Option<&str>) -> Result<bool, Box<Problem>> {
    let query = query.unwrap_or_default();
    let is_required = query == REQUIRE && parameters(route).contains(&REQUIRE);
    if query.is_empty() || is_required {
        return Ok(is_required);
    }
    Err(Problem::invalid_query(match route {
        Route::Status => "This route takes `require=up-to-date`, and nothing else.",
        Route::Migrate => {
            "This route takes `require=up-to-date`, and nothing else: `by` and `wait` need a coordinator."
        }
        _ => "This route takes no query: `by` and `wait` need a coordinator.",
    }))
}

/// What can be asked of a coordinator beside the route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Whether anything but that every migration is applied is to be an error.
    pub(crate) requires_up_to_date: bool,
    /// Whether to wait for a run in progress, and for the end of one's own.
    pub(crate) waits: bool,
    /// Who asks.
    pub(crate) by: Option<String>,
}

impl Query {
    pub(crate) fn of(route: &Route, query: Option<&str>) -> Result<Self, Box<Problem>> {
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
                None => replace(&mut known.requires_up_to_date, true),
            };
            if is_refused {
                return Err(Problem::invalid_query(&taken(route)));
            }
        }
        Ok(known)
    }
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
        Query::of(route, Some(query)).map_err(|problem| problem.detail)
    }

    fn plain(route: &Route, query: &str) -> Result<bool, String> {
        requires_up_to_date(route, Some(query)).map_err(|problem| problem.detail)
    }

    fn of(action: Action) -> Route {
        Route::Of { id: "001_a".to_owned(), action }
    }

    #[test]
    fn a_status_can_be_required_to_be_up_to_date() {
        assert_eq!(plain(&Route::Status, ""), Ok(false));
        assert_eq!(plain(&Route::Status, "require=up-to-date"), Ok(true));
        let required = Query { requires_up_to_date: true, ..Query::default() };
        assert_eq!(query(&Route::Status, ""), Ok(Query::default()));
        assert_eq!(query(&Route::Status, "require=up-to-date"), Ok(required));
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
                "This route takes `require=up-to-date`, `by=LABEL`, `wait=true`, each once, and nothing else."
            );
        }
    }

    #[test]
    fn who_asks_and_waits_is_known_to_a_coordinator_in_any_order() {
        let all = Query { requires_up_to_date: true, waits: true, by: Some("deploy 1&2=ü".to_owned()) };
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
        for route in [Route::Migrate, of(Action::Rollback)] {
            for sent in ["by=me", "wait=true", "require=up-to-date&wait=true"] {
                let detail = plain(&route, sent).unwrap_err();
                assert!(detail.ends_with("`by` and `wait` need a coordinator."), "{detail}");
            }
        }
        assert!(plain(&of(Action::Rollback), "require=up-to-date").is_err());
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
