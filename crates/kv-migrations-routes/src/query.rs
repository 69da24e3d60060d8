//! The query of a request. What is not known is refused: a parameter that is misspelt must not pass for obeyed.

use crate::problem::Problem;
use crate::route::Route;

/// What the caller asks for beside the route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Whether anything but that every migration is applied is to be an error.
    pub(crate) require_up_to_date: bool,
}

impl Query {
    pub(crate) fn of(route: &Route, query: Option<&str>) -> Result<Self, Box<Problem>> {
        match (route, query) {
            (_, None | Some("")) => Ok(Self::default()),
            (Route::Status | Route::Migrate, Some("require=up-to-date")) => {
                Ok(Self { require_up_to_date: true })
            }
            (Route::Status | Route::Migrate, _) => {
                Err(Problem::invalid_query("This route takes `require=up-to-date`, and nothing else."))
            }
            (Route::Rollback { .. }, _) => Err(Problem::invalid_query("This route takes no query.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(query: &str) -> Result<Query, ()> {
        Query::of(&Route::Status, Some(query)).map_err(drop)
    }

    #[test]
    fn a_status_can_be_required_to_be_up_to_date() {
        assert_eq!(status(""), Ok(Query { require_up_to_date: false }));
        assert_eq!(status("require=up-to-date"), Ok(Query { require_up_to_date: true }));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for query in ["require", "require=", "require=up_to_date", "required=up-to-date", "x=1"] {
            assert_eq!(status(query), Err(()), "{query}");
        }
        assert!(Query::of(&Route::Migrate, Some("dry-run")).is_err(), "a run must not start");
    }
}
