//! The query of a request. Unknown parameters are refused: a misspelt one must not be ignored.

use std::mem::replace;

use kv_migrations::Until;
use percent_encoding::percent_decode;

use super::route::{Action, Route};

const REQUIRE: &[u8] = b"require=up-to-date";
const WAIT: &[u8] = b"wait=true";
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
    /// Whether the request fails unless every migration is applied, of a run those that it asks for.
    pub(crate) requires_up_to_date: bool,
    /// The migration that the release must register which answers.
    pub(crate) expected: Option<String>,
    /// Whether the answer waits for a run in progress, and for the end of the caller's own run.
    pub(crate) waits: bool,
    /// The label of the caller.
    pub(crate) by: Option<String>,
    /// How far a run goes.
    pub(crate) until: Until,
}

/// Takes a parameter. False if that is refused.
type Take<'a> = dyn Fn(&mut Query, &[u8]) -> Result<bool, InvalidQuery> + 'a;

impl Query {
    /// The query of a request for this route, without a coordinator.
    pub(crate) fn parse(route: &Route, query: Option<&str>) -> Result<Self, InvalidQuery> {
        let takes_by = matches!(route, Route::Baseline | Route::Migration { action: Action::Correct(_), .. });
        let more = if takes_by { BY } else { ". `by` and `wait` need a coordinator" };
        Self::parse_with(route, query, more, &|parsed, parameter| match parameter.strip_prefix(b"by=") {
            Some(label) if takes_by => Ok(parsed.by.replace(decode_label(label)?).is_none()),
            _ => Ok(parsed.take(route, parameter)),
        })
    }

    /// The same with a coordinator, which takes more parameters.
    pub(crate) fn parse_coordinated(route: &Route, query: Option<&str>) -> Result<Self, InvalidQuery> {
        let (takes_by, takes_wait, more) = match route {
            Route::Status | Route::Plan | Route::History => (false, false, ""),
            Route::Migrate => (true, true, ", and `by=LABEL` and `wait=true`"),
            Route::Migration { action: Action::Rollback, .. } => {
                (true, true, ", but may have `by=LABEL` and `wait=true`")
            }
            Route::Baseline | Route::Migration { .. } => (true, false, BY),
        };
        Self::parse_with(route, query, more, &|parsed, parameter| match parameter.strip_prefix(b"by=") {
            Some(label) if takes_by => Ok(parsed.by.replace(decode_label(label)?).is_none()),
            None if parameter == WAIT && takes_wait => Ok(!replace(&mut parsed.waits, true)),
            _ => Ok(parsed.take(route, parameter)),
        })
    }

    fn parse_with(
        route: &Route,
        query: Option<&str>,
        more: &str,
        take: &Take<'_>,
    ) -> Result<Self, InvalidQuery> {
        let mut parsed = Self::default();
        let mut is_valid = true;
        for parameter in split(query) {
            is_valid = is_valid && take(&mut parsed, parameter)?;
        }
        if is_valid && (*route != Route::Baseline || matches!(parsed.until, Until::Migration(_))) {
            return Ok(parsed);
        }
        Err(InvalidQuery(format!("This route takes {}{more}.", taken_by(route))))
    }

    /// The last migration that is asked for; empty if none is named.
    pub(crate) fn last(&self) -> &str {
        match &self.until {
            Until::Migration(id) => id,
            _ => "",
        }
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

    /// Takes a parameter that needs no coordinator. False if the route does not take it, has it already, or has one that
    /// excludes it.
    fn take(&mut self, route: &Route, parameter: &[u8]) -> bool {
        let is_run = matches!(route, Route::Status | Route::Migrate);
        if let Some(id) = parameter.strip_prefix(b"expect=") {
            let takes = is_run || matches!(route, Route::Plan);
            return takes && decode(id).is_some_and(|id| self.expected.replace(id).is_none());
        }
        let is_taken = if parameter == REQUIRE {
            is_run && !replace(&mut self.requires_up_to_date, true)
        } else {
            let until = match route {
                Route::Migrate => until(parameter),
                Route::Plan | Route::Baseline => {
                    until(parameter).filter(|until| !matches!(until, Until::Entries(_)))
                }
                _ => None,
            };
            until.is_some_and(|until| replace(&mut self.until, until) == Until::End)
        };
        // After a few entries, the migration is not applied.
        is_taken && !(self.requires_up_to_date && matches!(self.until, Until::Entries(_)))
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

/// How far a run goes, if the parameter says so.
fn until(parameter: &[u8]) -> Option<Until> {
    if let Some(id) = parameter.strip_prefix(b"to=") {
        return decode(id).map(Until::Migration);
    }
    match parameter.strip_prefix(b"steps=") {
        Some(steps) => number(steps).map(Until::Steps),
        None => number(parameter.strip_prefix(b"entries=")?).map(Until::Entries),
    }
}

/// A number from 1 to 999,999,999.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.len() > 9 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        number = number * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
    }
    Some(number).filter(|number| *number > 0)
}

/// Adds text to a query, percent-encoded. `percent_encoding` has it too, for which every Worker would carry 300 bytes more.
pub(crate) fn push_encoded(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            query.push(char::from(byte));
        } else {
            query.push('%');
            for half in [byte >> 4, byte & 15] {
                query.push(char::from(if half < 10 { b'0' + half } else { b'A' - 10 + half }));
            }
        }
    }
}

/// What a route takes without a coordinator.
fn taken_by(route: &Route) -> &'static str {
    match route {
        Route::Status => "only `require=up-to-date` and `expect=ID`, each once",
        Route::Plan => "only `expect=ID` and one of `to=ID` and `steps=N`, each once",
        Route::Migrate => {
            "only `require=up-to-date`, `expect=ID` and one of `to=ID`, `steps=N` and `entries=N`, of which `entries` excludes \
             `require`, each once"
        }
        Route::Baseline => "`to=ID`, once",
        Route::History | Route::Migration { .. } => "no query",
    }
}

/// What more a route takes that changes the ledger alone.
const BY: &str = ", but may have `by=LABEL`";

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
    use kv_migrations::Correction;

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
                "This route takes only `require=up-to-date`, `expect=ID` and one of `to=ID`, `steps=N` and `entries=N`, of which \
                 `entries` excludes `require`, each once, and `by=LABEL` and `wait=true`."
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
            until: Until::Migration("002".to_owned()),
        };
        for sent in [
            "by=deploy%201%262=%C3%BC&wait=true&expect=001_a&to=002&require=up-to-date",
            "to=00%32&expect=001%5Fa&require=up-to-date&wait=true&by=deploy%201%262=%c3%bc",
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
    fn a_run_goes_to_a_migration_or_over_a_number_of_them_or_of_entries() {
        for (sent, until) in [
            ("to=a%2Fb", Until::Migration("a/b".to_owned())),
            ("steps=1", Until::Steps(1)),
            ("entries=999999999", Until::Entries(999_999_999)),
        ] {
            for parse in [plain, query] {
                let expected = Query { until: until.clone(), ..Query::default() };
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
    fn what_changes_the_ledger_alone_takes_a_label_without_a_coordinator() {
        let labelled = Query { by: Some("deploy 1".to_owned()), ..Query::default() };
        for action in [Correction::Reset, Correction::Mark, Correction::Unmark].map(Action::Correct) {
            assert_eq!(plain(&migration(action), "by=deploy%201"), Ok(labelled.clone()));
            for refused in ["by=", "by=a&by=b", "by=a&wait=true", "by=a%0Ab", "force", "to=a"] {
                assert!(plain(&migration(action), refused).is_err(), "{refused}");
            }
        }
    }

    #[test]
    fn a_baseline_names_its_last_migration() {
        let last = Query { until: Until::Migration("a/b".to_owned()), ..Query::default() };
        let labelled = Query { by: Some("me".to_owned()), ..last.clone() };
        for parse in [plain, query] {
            assert_eq!(parse(&Route::Baseline, "to=a%2Fb"), Ok(last.clone()));
            assert_eq!(parse(&Route::Baseline, "by=me&to=a%2Fb"), Ok(labelled.clone()));
            for refused in
                ["", "by=me", "to=", "to=a&to=b", "steps=1", "entries=1", "to=a&wait=true", "expect=a"]
            {
                let detail = parse(&Route::Baseline, refused).expect_err(refused);
                assert_eq!(detail, "This route takes `to=ID`, once, but may have `by=LABEL`.");
            }
        }
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
