//! The query of a request. Unknown parameters are refused: a misspelt one must not be ignored.

use std::mem::replace;

use percent_encoding::percent_decode_str;

use super::route::{Action, Route};

const REQUIRE: &str = "require=up-to-date";
const WAIT: &str = "wait=true";
const BY: &str = "by=LABEL";
const MAX_LABEL_BYTES: usize = 200;

/// A route does not take the query of the request: why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidQuery(pub(crate) String);

/// What a query asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Whether the request fails unless every migration is applied.
    pub(crate) requires_up_to_date: bool,
    /// Whether the answer waits for a run in progress, and for the end of the caller's own run.
    pub(crate) waits: bool,
    /// The label of the caller.
    pub(crate) by: Option<String>,
}

impl Query {
    /// The query of a request for this route, without a coordinator.
    pub(crate) fn parse(route: &Route, query: Option<&str>) -> Result<Self, InvalidQuery> {
        let query = query.unwrap_or_default();
        let requires_up_to_date = query == REQUIRE && parameters(route).contains(&REQUIRE);
        if query.is_empty() || requires_up_to_date {
            return Ok(Self { requires_up_to_date, ..Self::default() });
        }
        let detail = match route {
            Route::Status => "This route takes `require=up-to-date`, and nothing else.",
            Route::Migrate => {
                "This route takes `require=up-to-date`, and nothing else: `by` and `wait` need a coordinator."
            }
            _ => "This route takes no query: `by` and `wait` need a coordinator.",
        };
        Err(InvalidQuery(detail.to_owned()))
    }

    /// The same with a coordinator, which takes more parameters.
    pub(crate) fn parse_coordinated(route: &Route, query: Option<&str>) -> Result<Self, InvalidQuery> {
        let mut parsed = Self::default();
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(parsed) };
        for parameter in query.split('&') {
            let label = parameter.strip_prefix("by=");
            let usage = if label.is_some() { BY } else { parameter };
            let is_unknown = !parameters(route).contains(&usage);
            let is_refused = is_unknown
                || match label {
                    Some(label) => parsed.by.replace(decode_label(label)?).is_some(),
                    None if usage == WAIT => replace(&mut parsed.waits, true),
                    None => replace(&mut parsed.requires_up_to_date, true),
                };
            if is_refused {
                return Err(InvalidQuery(usage_of(route)));
            }
        }
        Ok(parsed)
    }
}

/// The parameters that a route takes with a coordinator.
fn parameters(route: &Route) -> &'static [&'static str] {
    match route {
        Route::Status => &[REQUIRE],
        Route::History => &[],
        Route::Migrate => &[REQUIRE, BY, WAIT],
        Route::Migration { action: Action::Rollback, .. } => &[BY, WAIT],
        Route::Migration { .. } => &[BY],
    }
}

fn usage_of(route: &Route) -> String {
    match parameters(route) {
        [] => "This route takes no query.".to_owned(),
        parameters => {
            format!("This route takes `{}`, each once, and nothing else.", parameters.join("`, `"))
        }
    }
}

fn decode_label(label: &str) -> Result<String, InvalidQuery> {
    let label = percent_decode_str(label).decode_utf8().ok();
    label
        .filter(|label| (1..=MAX_LABEL_BYTES).contains(&label.len()) && !label.contains(char::is_control))
        .map(Into::into)
        .ok_or_else(|| {
            let detail = "A label is text of 1 to 200 bytes without control characters, percent-encoded.";
            InvalidQuery(detail.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(route: &Route, query: &str) -> Result<Query, String> {
        Query::parse_coordinated(route, Some(query)).map_err(|InvalidQuery(detail)| detail)
    }

    fn plain(route: &Route, query: &str) -> Result<Query, String> {
        Query::parse(route, Some(query)).map_err(|InvalidQuery(detail)| detail)
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
    fn a_coordinator_takes_its_parameters_in_any_order() {
        let all = Query { requires_up_to_date: true, waits: true, by: Some("deploy 1&2=ü".to_owned()) };
        for sent in [
            "by=deploy%201%262=%C3%BC&wait=true&require=up-to-date",
            "require=up-to-date&wait=true&by=deploy%201%262=%c3%bc",
        ] {
            assert_eq!(query(&Route::Migrate, sent), Ok(all.clone()));
        }
        assert!(query(&migration(Action::Rollback), "wait=true&by=me").is_ok());
        assert!(query(&migration(Action::Pause), "by=me").is_ok());
    }

    #[test]
    fn a_route_takes_its_own_parameters_only() {
        assert_eq!(query(&Route::History, "by=me"), Err("This route takes no query.".to_owned()));
        assert!(query(&Route::Status, "by=me").is_err());
        assert!(query(&migration(Action::Rollback), "require=up-to-date").is_err());
        assert!(query(&migration(Action::Cancel), "wait=true").is_err());
    }

    #[test]
    fn without_a_coordinator_there_is_no_label_and_no_waiting() {
        for route in [Route::Migrate, migration(Action::Rollback)] {
            for sent in ["by=me", "wait=true", "require=up-to-date&wait=true"] {
                let detail = plain(&route, sent).unwrap_err();
                assert!(detail.ends_with("`by` and `wait` need a coordinator."), "{detail}");
            }
        }
        assert!(plain(&migration(Action::Rollback), "require=up-to-date").is_err());
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
