//! The query of a request. Unknown parameters are refused: a misspelt one must not be ignored.

#[cfg(test)]
mod tests;

use std::mem::replace;

use kv_migrations::Until;
use percent_encoding::percent_decode;

use super::route::{Action, Route};
use Parameter::{Brief, By, Entries, Expect, Require, Steps, StepsOrAll, To, Wait};

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
    /// Whether the answer leaves out what a run skipped.
    pub(crate) is_brief: bool,
    /// The migration that the release must register which answers.
    pub(crate) expected: Option<String>,
    /// Whether the answer waits for a run in progress, and for the end of the caller's own run.
    pub(crate) waits: bool,
    /// The label of the caller.
    pub(crate) by: Option<String>,
    /// How far a run or a rollback goes, if it is said.
    pub(crate) until: Option<Until>,
}

/// A parameter that a route can take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Require,
    Brief,
    Expect,
    To,
    Steps,
    StepsOrAll,
    Entries,
    By,
    Wait,
}

/// The parameters that a route takes, at most once each. `wait` needs a coordinator.
fn taken_by(route: &Route) -> &'static [Parameter] {
    match route {
        Route::Status => &[Require, Expect],
        Route::Plan => &[Expect, To, Steps],
        Route::Migrate => &[Require, Brief, Expect, To, Steps, Entries, By, Wait],
        Route::Baseline => &[To, By],
        Route::Rollback => &[To, StepsOrAll, By, Wait],
        Route::Migration { action: Action::Rollback, .. } => &[By, Wait],
        Route::Migration { .. } => &[By],
        Route::History | Route::DryRun | Route::Page => &[],
    }
}

/// The names of the parameters that a route takes.
#[cfg(test)]
pub(super) fn names(route: &Route) -> Vec<&'static str> {
    taken_by(route).iter().filter_map(|parameter| parameter.form().split('=').next()).collect()
}

/// Whether a route can wait for a run in progress, where there is a coordinator.
pub(crate) fn can_wait(route: &Route) -> bool {
    taken_by(route).contains(&Wait)
}

impl Parameter {
    /// How it is written, as an error shows it.
    fn form(self) -> &'static str {
        match self {
            Require => "require=up-to-date",
            Brief => "brief=true",
            Expect => "expect=ID",
            To => "to=ID",
            Steps => "steps=N",
            StepsOrAll => "steps=N|all",
            Entries => "entries=N",
            By => "by=LABEL",
            Wait => "wait=true",
        }
    }

    /// The value, if `text` is this parameter.
    fn value(self, text: &[u8]) -> Option<&[u8]> {
        let name = self.form().split_inclusive('=').next()?;
        text.strip_prefix(name.as_bytes())
    }
}

impl Query {
    /// The query of a request for this route.
    pub(crate) fn parse(
        route: &Route,
        query: Option<&str>,
        is_coordinated: bool,
    ) -> Result<Self, InvalidQuery> {
        let takes = taken_by(route).iter().copied().filter(|parameter| is_coordinated || *parameter != Wait);
        let mut parsed = Self::default();
        let mut is_valid = split(query).all(|text| {
            let mut given = takes.clone().filter_map(|parameter| Some((parameter, parameter.value(text)?)));
            given.next().is_some_and(|(parameter, value)| parsed.take(parameter, value))
        });
        // After a few entries, the migration is not applied.
        is_valid &= !(parsed.requires_up_to_date && matches!(parsed.until, Some(Until::Entries(_))));
        is_valid &= parsed.until.is_some() || !matches!(route, Route::Baseline | Route::Rollback);
        if is_valid { Ok(parsed) } else { Err(refusal(takes)) }
    }

    /// Takes a parameter. False if its value is invalid, or if it is there already or is excluded by another.
    fn take(&mut self, parameter: Parameter, value: &[u8]) -> bool {
        let until = match parameter {
            Require => return value == b"up-to-date" && !replace(&mut self.requires_up_to_date, true),
            Brief => return value == b"true" && !replace(&mut self.is_brief, true),
            Wait => return value == b"true" && !replace(&mut self.waits, true),
            Expect => return decode(value).is_some_and(|id| self.expected.replace(id).is_none()),
            By => {
                let label = decode(value).filter(|label| is_label(label));
                return label.is_some_and(|label| self.by.replace(label).is_none());
            }
            To => decode(value).map(Until::Migration),
            StepsOrAll if value == b"all" => Some(Until::End),
            Steps | StepsOrAll => number(value).map(Until::Steps),
            Entries => number(value).map(Until::Entries),
        };
        until.is_some_and(|until| self.until.replace(until).is_none())
    }

    /// How far a run or a rollback goes.
    pub(crate) fn until(&self) -> &Until {
        self.until.as_ref().unwrap_or(&Until::End)
    }

    /// The last migration that is asked for; empty if none is named.
    pub(crate) fn last(&self) -> &str {
        match self.until() {
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
}

/// Why a query is refused: what the route takes.
fn refusal(takes: impl Iterator<Item = Parameter>) -> InvalidQuery {
    let mut detail = "This route takes only".to_owned();
    let before = detail.len();
    for parameter in takes {
        detail.push_str(if detail.len() > before { ", `" } else { " `" });
        detail.push_str(parameter.form());
        detail.push('`');
    }
    detail.push_str(if detail.len() > before { RULES } else { " an empty query." });
    InvalidQuery(detail)
}

/// What holds for the parameters of every route.
const RULES: &str = ". Each may be given once, and only one of `to`, `steps` and `entries`, which a rollback of several and \
                     a baseline need. `entries` excludes `require`. `wait` needs a coordinator. A label has 1 to 200 \
                     bytes and no control characters.";

/// The parameters. Bytes: searching text would add more code.
pub(super) fn split(query: Option<&str>) -> impl Iterator<Item = &[u8]> {
    let query = query.unwrap_or_default().as_bytes();
    query.split(|byte| *byte == b'&').filter(|_| !query.is_empty())
}

/// Text that is not empty.
pub(super) fn decode(encoded: &[u8]) -> Option<String> {
    let text = percent_decode(encoded).decode_utf8().ok();
    text.filter(|text| !text.is_empty()).map(Into::into)
}

/// A number from 1 to 999,999,999.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
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

/// The request that continues a rollback of several, or finishes it, which leaves this migration.
pub(crate) fn rollback_request(to: Option<&str>) -> String {
    let mut path = "/migrations/rollback?".to_owned();
    match to {
        Some(to) => {
            path.push_str("to=");
            push_encoded(&mut path, to);
        }
        None => path.push_str("steps=all"),
    }
    path
}

fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL_BYTES && !text.contains(char::is_control)
}
