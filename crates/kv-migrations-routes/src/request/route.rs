//! The route that a path names. Pure.

use http::Method;
use kv_migrations::Correction;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What the path of a URL always has percent-encoded, beside all that is not ASCII. A `%` stays: it begins what is encoded.
///
/// Source: <https://url.spec.whatwg.org/#path-percent-encode-set>.
const NEVER_IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// A route of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Status,
    Plan,
    History,
    Migrate,
    Baseline,
    /// Of several migrations.
    Rollback,
    /// Only where it is [named](crate::MigrationRoutes::with_dry_run).
    DryRun,
    /// Only where it is [named](crate::MigrationRoutes::with_page).
    Page,
    Migration {
        id: String,
        action: Action,
    },
}

/// An action on a single migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Rollback,
    Correct(Correction),
    Pause,
    Resume,
    Cancel,
}

const RESET: Action = Action::Correct(Correction::Reset);
const MARK: Action = Action::Correct(Correction::Mark);
const UNMARK: Action = Action::Correct(Correction::Unmark);

/// A route does not take the method of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodNotAllowed {
    /// The methods that it takes, as the header `Allow` lists them.
    pub(crate) allow: &'static str,
}

impl Route {
    /// The path of [`DryRun`](Self::DryRun).
    pub(crate) const DRY_RUN: &str = "/migrations/dry-run";
    /// The path of [`Page`](Self::Page).
    pub(crate) const PAGE: &str = "/migrations";

    /// The route that a path below `base_path` names, without a coordinator. None if the path is not ours.
    pub(crate) fn parse(path: &str, base_path: &str) -> Option<Self> {
        match path.strip_prefix(base_path)? {
            "/migrations/status" => Some(Self::Status),
            "/migrations/plan" => Some(Self::Plan),
            "/migrate" => Some(Self::Migrate),
            "/migrations/baseline" => Some(Self::Baseline),
            "/migrations/rollback" => Some(Self::Rollback),
            path => Action::parse_any(&[Action::Rollback, RESET, MARK, UNMARK], path),
        }
    }

    /// The same with a coordinator, which has more routes.
    pub(crate) fn parse_coordinated(path: &str, base_path: &str) -> Option<Self> {
        let more = |path| match path {
            "/migrations/history" => Some(Self::History),
            path => Action::parse_any(&[Action::Pause, Action::Resume, Action::Cancel], path),
        };
        Self::parse(path, base_path).or_else(|| more(path.strip_prefix(base_path)?))
    }

    /// Whether the answer depends on which migrations are registered. What stops something, or forgets it, does not: it
    /// must always be possible.
    pub(crate) fn depends_on_release(&self) -> bool {
        match self {
            Self::Status | Self::Plan | Self::Migrate | Self::Baseline | Self::Rollback => true,
            Self::Migration { action, .. } => {
                matches!(*action, Action::Rollback | MARK | Action::Resume)
            }
            Self::History | Self::DryRun | Self::Page => false,
        }
    }

    /// The path of the route, without a base path.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Status => "/migrations/status".to_owned(),
            Self::Plan => "/migrations/plan".to_owned(),
            Self::History => "/migrations/history".to_owned(),
            Self::Migrate => "/migrate".to_owned(),
            Self::Baseline => "/migrations/baseline".to_owned(),
            Self::Rollback => "/migrations/rollback".to_owned(),
            Self::DryRun => Self::DRY_RUN.to_owned(),
            Self::Page => Self::PAGE.to_owned(),
            Self::Migration { id, action } => {
                format!("/migrations/{}/{}", utf8_percent_encode(id, NON_ALPHANUMERIC), action.name())
            }
        }
    }

    pub(crate) fn check_method(&self, method: &Method) -> Result<(), MethodNotAllowed> {
        let (is_allowed, allow) = match self {
            Self::Status | Self::Plan | Self::History | Self::Page => {
                (matches!(*method, Method::GET | Method::HEAD), "GET, HEAD")
            }
            Self::Migrate | Self::Baseline | Self::Rollback | Self::DryRun | Self::Migration { .. } => {
                (matches!(*method, Method::POST), "POST")
            }
        };
        if is_allowed { Ok(()) } else { Err(MethodNotAllowed { allow }) }
    }
}

impl Action {
    fn parse_any(actions: &[Self], path: &str) -> Option<Route> {
        actions.iter().find_map(|action| action.parse(path))
    }

    /// The route that a path names, if it is this action on some migration.
    fn parse(self, path: &str) -> Option<Route> {
        let id = path.strip_prefix("/migrations/")?.strip_suffix(self.name())?.strip_suffix('/')?;
        if id.is_empty() || id.contains('/') {
            return None;
        }
        // Bytes that are no UTF-8 are no migration's id.
        let id = percent_decode_str(id).decode_utf8().ok()?.into_owned();
        Some(Route::Migration { id, action: self })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            UNMARK => "unmark",
            MARK => "mark",
            Self::Correct(_) => "reset",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }
}

/// A base path as [`Route::parse`] takes it, in the form that the path of a request has: empty for the root, else `/a/b`.
pub(crate) fn base_path(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("/{}", utf8_percent_encode(path, NEVER_IN_PATH)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollback(id: &str) -> Route {
        Route::Migration { id: id.to_owned(), action: Action::Rollback }
    }

    #[test]
    fn the_routes_that_need_no_coordinator() {
        assert_eq!(Route::parse("/migrations/status", ""), Some(Route::Status));
        assert_eq!(Route::parse("/migrate", ""), Some(Route::Migrate));
        assert_eq!(Route::parse("/migrations/baseline", ""), Some(Route::Baseline));
        assert_eq!(Route::parse("/migrations/rollback", ""), Some(Route::Rollback));
        assert_eq!(Route::parse("/migrations/rollback/rollback", ""), Some(rollback("rollback")));
        assert_eq!(Route::parse("/migrations/001_a/rollback", ""), Some(rollback("001_a")));
        for action in [RESET, MARK, UNMARK] {
            let route = Route::Migration { id: "001_a".to_owned(), action };
            assert_eq!(Route::parse(&format!("/migrations/001_a/{}", action.name()), ""), Some(route));
        }
    }

    #[test]
    fn the_routes_that_need_a_coordinator() {
        let migration = |action| Some(Route::Migration { id: "001_a".to_owned(), action });
        for (path, route) in [
            ("/migrations/history", Some(Route::History)),
            ("/migrations/001_a/pause", migration(Action::Pause)),
            ("/migrations/001_a/resume", migration(Action::Resume)),
            ("/migrations/001_a/cancel", migration(Action::Cancel)),
        ] {
            assert_eq!(Route::parse(path, ""), None, "{path}");
            assert_eq!(Route::parse_coordinated(path, ""), route);
            assert_eq!(Route::parse_coordinated(&format!("/a{path}"), "/a"), route);
        }
    }

    #[test]
    fn the_path_of_a_route_names_that_route() {
        let actions = [Action::Rollback, RESET, MARK, UNMARK, Action::Pause, Action::Resume, Action::Cancel];
        let migration = |id: &str| actions.map(|action| Route::Migration { id: id.to_owned(), action });
        let ids =
            ["001_a", "a/b ü%", "?#&+", "\u{10FFFF}", "status", "rollback"].into_iter().flat_map(migration);
        let fixed =
            [Route::Status, Route::Plan, Route::History, Route::Migrate, Route::Baseline, Route::Rollback];
        for route in fixed.into_iter().chain(ids) {
            assert_eq!(Route::parse_coordinated(&route.path(), ""), Some(route));
        }
    }

    #[test]
    fn an_id_is_one_segment_and_percent_decoded() {
        assert_eq!(Route::parse("/migrations/a%2Fb%20%C3%BC%25/rollback", ""), Some(rollback("a/b ü%")));
        assert_eq!(Route::parse("/migrations/a+b/rollback", ""), Some(rollback("a+b")));
        assert_eq!(Route::parse("/migrations/status/rollback", ""), Some(rollback("status")));
    }

    #[test]
    fn everything_else_is_not_ours() {
        for path in [
            "/",
            "",
            "/migrations",
            "/migrations/",
            "/migrations/status/",
            "/migrate/",
            "/migrated",
            "/migrations//rollback",
            "/migrations/%FF/rollback",
            "/migrations/a/b/rollback",
            "/migrations/a/delete",
            "/migrations/a/remark",
            "/migrations/history/",
            "/migrations//pause",
            "/Migrate",
            "//migrate",
            "/admin/migrate",
        ] {
            assert_eq!(Route::parse(path, ""), None, "{path}");
            assert_eq!(Route::parse_coordinated(path, ""), None, "{path}");
        }
    }

    #[test]
    fn a_base_path_excludes_every_path_outside_of_it() {
        let base = base_path("/a/b/");
        assert_eq!(Route::parse("/a/b/migrate", &base), Some(Route::Migrate));
        assert_eq!(Route::parse("/migrate", &base), None);
        assert_eq!(Route::parse("/a/bc/migrate", &base), None);
        assert_eq!(base_path("/"), "");
    }

    #[test]
    fn a_base_path_is_encoded_as_the_path_of_a_request_is() {
        for (path, encoded) in [
            ("/ü", "/%C3%BC"),
            ("a b", "/a%20b"),
            ("/%C3%BC/a%20b/", "/%C3%BC/a%20b"),
            ("/a#b?c", "/a%23b%3Fc"),
            ("/a-b_c.d~e!$&'()*+,;=:@", "/a-b_c.d~e!$&'()*+,;=:@"),
        ] {
            assert_eq!(base_path(path), encoded);
            assert_eq!(Route::parse(&format!("{encoded}/migrate"), &base_path(path)), Some(Route::Migrate));
        }
    }

    #[test]
    fn a_route_takes_its_own_methods_only() {
        let reading = Err(MethodNotAllowed { allow: "GET, HEAD" });
        let writing = Err(MethodNotAllowed { allow: "POST" });
        for route in [Route::Status, Route::Plan, Route::History, Route::Page] {
            assert_eq!(route.check_method(&Method::GET), Ok(()));
            assert_eq!(route.check_method(&Method::HEAD), Ok(()));
            assert_eq!(route.check_method(&Method::POST), reading);
        }
        for route in [Route::Migrate, Route::Baseline, Route::Rollback, rollback("001_a")] {
            assert_eq!(route.check_method(&Method::POST), Ok(()));
            assert_eq!(route.check_method(&Method::GET), writing);
            assert_eq!(route.check_method(&Method::PUT), writing);
        }
    }
}
