//! The query of a request. Unknown parameters are refused: a misspelt one must not be ignored.

use std::mem::replace;

use percent_encoding::percent_decode;

use super::route::{Action, Route};

const REQUIRE: &str = "require=up-to-date";
const EXPECT: &str = "expect=ID";
const WAIT: &str = "wait=true";
const BY: &str = "by=LABEL";
const MAX_LABEL_BYTES: usize = 200;

/// A route does not take the query of the request: why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidQuery(pub(crate) String);

/// The release that answers does not register the migration that the request expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotExpected<'a> {
    pub(crate) expected: &'a str,
    /// The last migration that it registers.
    pub(crate) last: Option<&'a str>,
}

/// What a query asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Whether the request fails unless every migration is applied.
    pub(crate) requires_up_to_date: bool,
    /// The migration that the release must register which answers.
    pub(crate) expected: Option<String>,
    /// Whether the answer waits for a run in progress, and for the end of the caller's own run.
    pub(crate) waits: bool,
    /// The label of the caller.
    pub(crate) by: Option<String>,
}

impl Query {
    /// The query of a request for this route, without a coordinator.
    pub(crate) fn parse(route: &Route, query: Option<&str>) -> Result<Self, InvalidQuery> {
        let mut parsed = Self::default();
        if split(query).all(|parameter| parsed.take(route, parameter)) {
            return Ok(parsed);
        }
        let taken = match route {
            Route::Status | Route::Migrate => "only `require=up-to-date` and `expect=ID`, each once",
            _ => "no query",
        };
        Err(InvalidQuery(format!("This route takes {taken}. `by` and `wait` need a coordinator.")))
    }

    /// The same with a coordinator, which takes more parameters.
    pub(crate) fn parse_coordinated(route: &Route, query: Option<&str>) -> Result<Self, InvalidQuery> {
        let mut parsed = Self::default();
        let takes = |parameter| parameters(route).contains(&parameter);
        for parameter in split(query) {
            let is_taken = match parameter.strip_prefix(b"by=") {
                Some(label) if takes(BY) => parsed.by.replace(decode_label(label)?).is_none(),
                None if parameter == WAIT.as_bytes() && takes(WAIT) => !replace(&mut parsed.waits, true),
                _ => parsed.take(route, parameter),
            };
            if !is_taken {
                return Err(InvalidQuery(usage_of(route)));
            }
        }
        Ok(parsed)
    }

    /// Whether the release with these migrations is one that the request expects.
    pub(crate) fn check_expected<'a>(
        &'a self,
        mut ids: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Result<(), NotExpected<'a>> {
        let Some(expected) = &self.expected else { return Ok(()) };
        let last = ids.next_back();
        if last == Some(expected) || ids.any(|id| id == expected) {
            return Ok(());
        }
        Err(NotExpected { expected, last })
    }

    /// Takes a parameter that needs no coordinator. False if the route does not take it, or has it already.
    fn take(&mut self, route: &Route, parameter: &[u8]) -> bool {
        if !matches!(route, Route::Status | Route::Migrate) {
            return false;
        }
        match parameter.strip_prefix(b"expect=") {
            Some(id) => decode(id).is_some_and(|id| self.expected.replace(id).is_none()),
            None => parameter == REQUIRE.as_bytes() && !replace(&mut self.requires_up_to_date, true),
        }
    }
}

/// The parameters. Bytes: searching text would add more code.
fn split(query: Option<&str>) -> impl Iterator<Item = &[u8]> {
    let query = query.unwrap_or_default().as_bytes();
    query.split(|byte| *byte == b'&').filter(|_| !query.is_empty())
}

/// Text that is not empty.
fn decode(encoded: &[u8]) -> Option<String> {
    let text = percent_decode(encoded).decode_utf8().ok();
    text.filter(|text| !text.is_empty()).map(Into::into)
}

/// The parameters that a route takes with a coordinator.
fn parameters(route: &Route) -> &'static [&'static str] {
    match route {
        Route::Status => &[REQUIRE, EXPECT],
        Route::History => &[],
        Route::Migrate => &[REQUIRE, EXPECT, BY, WAIT],
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

fn decode_label(label: &[u8]) -> Result<String, InvalidQuery> {
    decode(label)
        .filter(|label| label.len() <= MAX_LABEL_BYTES && !label.contains(char::is_control))
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
    fn a_status_and_a_run_can_expect_a_migration() {
        for (sent, expected) in [("a", "a"), ("a%2Fb%20%C3%BC%25", "a/b ü%"), ("a=b", "a=b"), ("a+b", "a+b")]
        {
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
                "This route takes `require=up-to-date`, `expect=ID`, `by=LABEL`, `wait=true`, each once, and nothing \
                 else."
            );
        }
    }

    #[test]
    fn a_coordinator_takes_its_parameters_in_any_order() {
        let all = Query {
            requires_up_to_date: true,
            expected: Some("001_a".to_owned()),
            waits: true,
            by: Some("deploy 1&2=ü".to_owned()),
        };
        for sent in [
            "by=deploy%201%262=%C3%BC&wait=true&expect=001_a&require=up-to-date",
            "expect=001%5Fa&require=up-to-date&wait=true&by=deploy%201%262=%c3%bc",
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
