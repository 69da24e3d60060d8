//! The query of a dry run. Pure.

use kv_migrations::DryRun;

use super::query::{InvalidQuery, Query, decode, number, split};

/// What a dry run is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DryRunQuery {
    pub(crate) options: DryRun,
    /// With the migration that the release must register.
    pub(crate) expected: Query,
}

/// A parameter that was taken. Those that exclude each other are one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Far,
    Entries,
    Show,
    Values,
    Expect,
}

impl DryRunQuery {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, InvalidQuery> {
        let mut parsed = Self { options: DryRun::new(), expected: Query::default() };
        let mut taken = Vec::new();
        for parameter in split(query) {
            match parsed.take(parameter) {
                Some(one) if !taken.contains(&one) => taken.push(one),
                _ => {
                    let detail = format!(
                        "This route takes only one of `only=ID`, `to=ID` and `steps=N`, and `entries=N`, `show=N` of at most \
                         {}, `values=true` and `expect=ID`, each once.",
                        DryRun::MAX_SHOWN
                    );
                    return Err(InvalidQuery(detail));
                }
            }
        }
        Ok(parsed)
    }

    /// Takes a parameter. `None` if there is none like it.
    fn take(&mut self, parameter: &[u8]) -> Option<Taken> {
        let place = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (parameter.get(..place)?, parameter.get(place + 1..)?);
        let options = &mut self.options;
        Some(match name {
            b"only" => {
                options.only = Some(decode(value)?);
                Taken::Far
            }
            b"to" => {
                options.to = Some(decode(value)?);
                Taken::Far
            }
            b"steps" => {
                options.steps = Some(number(value)?);
                Taken::Far
            }
            b"entries" => {
                options.sample = Some(number(value)?);
                Taken::Entries
            }
            b"show" => {
                let shown = usize::try_from(number(value)?).ok()?;
                options.shown = Some(shown).filter(|shown| *shown <= DryRun::MAX_SHOWN)?;
                Taken::Show
            }
            b"values" if value == b"true" => {
                options.has_values = true;
                Taken::Values
            }
            b"expect" => {
                self.expected.expected = Some(decode(value)?);
                Taken::Expect
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<DryRun, String> {
        let parsed = DryRunQuery::parse(Some(query)).map_err(|InvalidQuery(detail)| detail)?;
        Ok(parsed.options)
    }

    #[test]
    fn a_dry_run_says_how_far_of_what_and_what_to_show() {
        for (sent, options) in [
            ("", DryRun::new()),
            ("only=a%2Fb", DryRun::new().only("a/b")),
            ("to=001", DryRun::new().to("001")),
            ("steps=3", DryRun::new().steps(3)),
            ("values=true&entries=50&show=7", DryRun::new().with_entries(50).showing(7).with_values()),
            ("show=10000&steps=1", DryRun::new().steps(1).showing(10_000)),
        ] {
            assert_eq!(parse(sent), Ok(options), "{sent}");
        }
        let expected = DryRunQuery::parse(Some("expect=a%20b")).map(|parsed| parsed.expected.expected);
        assert_eq!(expected, Ok(Some("a b".to_owned())));
    }

    #[test]
    fn what_is_misspelt_repeated_or_contradicts_is_refused() {
        for refused in [
            "only",
            "only=",
            "to=%FF",
            "steps=0",
            "entries=0",
            "show=0",
            "show=10001",
            "values",
            "values=false",
            "by=me",
            "require=up-to-date",
            "wait=true",
            "to=a&steps=1",
            "only=a&to=b",
            "to=a&to=a",
            "show=1&show=1",
            "&",
        ] {
            let detail = parse(refused).expect_err(refused);
            assert!(detail.starts_with("This route takes only one of"), "{detail}");
        }
    }
}
