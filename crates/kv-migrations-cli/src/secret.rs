//! What lets into a service. Nothing prints it: it has no `Display`, and its `Debug` hides it.

use std::fmt;

use crate::exit::Failure;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// A header that is sent with each request. Its value may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: Secret,
}

impl Secret {
    /// The value, to be sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Header {
    /// The header that has a token.
    pub(crate) fn of_token(token: &str) -> Result<Self, Failure> {
        // White space in a token is a mistake in copying it.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage(
                "the token is empty, or has a space or a character that no header can hold",
            ));
        }
        Ok(Self { name: "authorization".to_owned(), value: Secret(format!("Bearer {token}")) })
    }

    /// Reads `Name: value`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::usage("a header is written `Name: value`, in ASCII");
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !is_name || !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(wrong());
        }
        Ok(Self { name: name.to_ascii_lowercase(), value: Secret(value.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let token = Header::of_token("s3cret").unwrap();
        assert_eq!(token.value.expose(), "Bearer s3cret");
        assert!(!format!("{token:?}").contains("s3"), "{token:?}");
        let failures = ["", "s3cret ", "s3\ncret", "s3crét"].map(Header::of_token);
        let headers = ["s3cret", ": s3cret", "a b: s3cret", "a: s3\ncret", "a: s3crét"].map(Header::parse);
        for failure in failures.into_iter().chain(headers).map(Result::unwrap_err) {
            assert!(!format!("{failure} {failure:?}").contains("s3"), "{failure}");
        }
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let Header { name, value } = Header::parse("CF-Access-Client-Id:  a b.access ").unwrap();
        assert_eq!((name.as_str(), value.expose()), ("cf-access-client-id", "a b.access"));
    }
}
