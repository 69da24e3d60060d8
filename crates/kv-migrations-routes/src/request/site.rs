//! Whether a page of another site makes a browser send a request. Pure.

use http::header::ORIGIN;
use http::{HeaderMap, Method};

/// Browsers set it, and no page can: <https://www.w3.org/TR/fetch-metadata/>.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a request that changes something may come from a page of another site. Callers that are no browsers send
/// neither `Sec-Fetch-Site` nor `Origin`.
///
/// A page of a sibling domain counts as another site. So does any page in a browser that sends no `Sec-Fetch-Site`.
pub(crate) fn is_cross_site(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return false;
    }
    match headers.get(SEC_FETCH_SITE) {
        None => headers.contains_key(ORIGIN),
        Some(_) => headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none"),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        sent.iter().copied().map(header).collect()
    }

    #[test]
    fn only_what_a_browser_sends_for_the_site_itself_or_no_browser_at_all_may_change_something() {
        let (site, origin) = (|site| (SEC_FETCH_SITE, site), |origin| ("origin", origin));
        let table: &[(&[_], bool)] = &[
            (&[], false),
            (&[site("same-origin")], false),
            (&[site("same-origin"), origin("https://my-service.example.com")], false),
            // The user's own doing, such as an extension or a typed address.
            (&[site("none")], false),
            (&[site("cross-site")], true),
            (&[site("cross-site"), origin("https://evil.example.com")], true),
            (&[site("same-site")], true),
            (&[site("")], true),
            (&[site("Same-Origin")], true),
            (&[site("same-origin, cross-site")], true),
            // An older browser, which says no more than the origin.
            (&[origin("https://evil.example.com")], true),
            (&[origin("null")], true),
        ];
        for (sent, is_refused) in table {
            let headers = headers(sent);
            assert_eq!(is_cross_site(&Method::POST, &headers), *is_refused, "{sent:?}");
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(!is_cross_site(&method, &headers), "{method} changes nothing");
            }
        }
    }

    #[test]
    fn a_second_header_cannot_hide_the_first() {
        let mut headers = headers(&[(SEC_FETCH_SITE, "same-origin")]);
        headers.append(SEC_FETCH_SITE, HeaderValue::from_static("cross-site"));
        assert!(is_cross_site(&Method::POST, &headers));
    }
}
