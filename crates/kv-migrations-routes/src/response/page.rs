//! The page as an answer.

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};

use super::body::Body;
use super::json::full;

/// The file, as it is served. Its own text, and nothing of the service.
const PAGE: &[u8] = include_bytes!("page/page.html");

/// Only the script and the style of this file run, named by their SHA-256. It talks to its own origin alone, and cannot be
/// framed, sent by a form, or given markup by a script. `data:` is for its icon.
///
/// `tests/workerd/page.test.mjs` compares the hashes with the file, and says the right ones.
const POLICY: &str = "default-src 'none'; \
                      script-src 'sha256-V0HkyKJ89iJYnlyw7DWcHgrTrQLJleKG/VwMUx/j0MA='; \
                      style-src 'sha256-9aQ0T6BvJLx2O585G9GaTDE53U2qLYxqNgfyCE/ROAQ='; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

pub(crate) fn page() -> Response<Body> {
    let mut response = full(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_vec());
    let headers = response.headers_mut();
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
