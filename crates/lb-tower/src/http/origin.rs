//! A client that sends everything to one endpoint.

use std::fmt;
use std::task::{Context, Poll};

use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use http::{Request, Uri};
use tower_service::Service;

/// Sends requests to one origin through a client that goes by their URI, such as hyper-util's: the service that an endpoint carries.
///
/// The path and query are kept, scheme and authority replaced; the `Host` is for the client to set.
#[derive(Clone)]
pub struct Origin<S> {
    inner: S,
    scheme: Scheme,
    authority: Authority,
}

impl<S> Origin<S> {
    /// To this origin, `http://10.0.0.1:3000`; without a scheme it is `http`. A path in it is ignored.
    ///
    /// # Errors
    /// It is no URI with an authority.
    pub fn new(inner: S, origin: &str) -> Result<Self, InvalidUri> {
        let uri: Uri = if origin.contains("://") { origin.parse()? } else { format!("http://{origin}").parse()? };
        let scheme = uri.scheme().cloned().unwrap_or(Scheme::HTTP);
        // An empty one is refused in the words of the parser.
        let authority = uri.authority().cloned().map_or_else(|| "".parse(), Ok)?;
        Ok(Self { inner, scheme, authority })
    }

    /// Where it sends to, `10.0.0.1:3000`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

crate::inner::inner_access!(Origin<S>);

impl<S> fmt::Debug for Origin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({}://{})", self.scheme, self.authority)
    }
}

impl<S, B> Service<Request<B>> for Origin<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path make a URI");
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use tower::service_fn;

    use super::*;

    #[test]
    fn the_origin_is_replaced_and_the_path_stays() {
        let echo =
            service_fn(|request: Request<()>| std::future::ready(Ok::<_, Infallible>(request.uri().to_string())));
        let to = |origin: &str, uri: &str| {
            let request = Request::builder().uri(uri).body(()).unwrap();
            Origin::new(echo, origin).unwrap().call(request).now_or_never().unwrap().unwrap()
        };
        assert_eq!(to("http://10.0.0.1:3000", "/a?b=c"), "http://10.0.0.1:3000/a?b=c");
        assert_eq!(to("10.0.0.1:3000", "http://app.example/a"), "http://10.0.0.1:3000/a");
        assert_eq!(to("https://app-1/ignored", "https://app.example"), "https://app-1/");
        assert!(Origin::new(echo, "http://").is_err() && Origin::new(echo, "a b").is_err());
    }
}
