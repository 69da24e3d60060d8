//! What the routes read of a request beside its path: never its body.

use http::header::AUTHORIZATION;
use http::{Method, Request};

/// The head of a request, from whichever type of request the service has.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) query: Option<String>,
    /// Every `Authorization` header there is. More than one is no credential.
    pub(crate) authorization: Vec<Vec<u8>>,
}

impl Head {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let authorization = request.headers().get_all(AUTHORIZATION).into_iter();
        Self {
            method: request.method().clone(),
            query: request.uri().query().map(str::to_owned),
            authorization: authorization.map(|value| value.as_bytes().to_vec()).collect(),
        }
    }

    pub(crate) fn of_worker(request: &worker::Request) -> worker::Result<Self> {
        // `worker::Method` takes every method that it does not know for a GET.
        let method = Method::from_bytes(request.inner().method().as_bytes());
        Ok(Self {
            method: method.map_err(|error| worker::Error::RustError(error.to_string()))?,
            query: request.url()?.query().map(str::to_owned),
            authorization: request.headers().get("Authorization")?.into_iter().map(Into::into).collect(),
        })
    }
}
