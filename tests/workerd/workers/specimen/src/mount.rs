//! The ways to mount the routes, beside a service of this Worker's own.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use axum::routing::any;
use tower_service::Service;
use worker::{Env, HttpRequest, Result};

use crate::settings::Settings;
use crate::{coordinated, routes};

/// The answer of the routes, or of what they are mounted beside.
pub async fn call(request: HttpRequest, env: &Env) -> Result<Response<Body>> {
    let mount = request.get("mount").to_owned();
    let (how, path) = mount.split_once(' ').unwrap_or(("bare", "/"));
    let mut routes = match request.get("coordinator") {
        "" => routes(&request, env),
        _ => coordinated::mounted(env),
    };
    match how {
        "nest" => Ok(own().nest_service(path, routes).call(request).await?),
        "layer" => Ok(own().layer(routes.with_base_path(path)).call(request).await?),
        "front" => Ok(routes.with_base_path(path).in_front_of(own()).call(request).await?.into_response()),
        "fetch" => match routes.with_base_path(path).fetch(&request.try_into()?).await? {
            Some(response) => {
                worker::HttpResponse::try_from(response).map(|response| response.map(Body::new))
            }
            None => Ok("not for the routes".into_response()),
        },
        _ if path == "/" => Ok(routes.call(request).await?.into_response()),
        _ => Ok(routes.with_base_path(path).call(request).await?.into_response()),
    }
}

/// Says what reaches it: all of the request that the routes could have changed.
fn own() -> Router {
    let echo = async |request: Request<Body>| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        format!("own {} {} {}", head.method, head.uri.path(), String::from_utf8_lossy(&body))
    };
    Router::new().route("/", any(echo)).fallback(echo)
}
