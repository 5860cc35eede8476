//! Which trailers are sent on.
//!
//! Some programs put trailers beside the headers they follow, under the same names. So what no client may say in a head, it
//! may not say behind a body either: trailers go through the same rules. What those rules write, they write into the
//! head; of trailers they only take out.
//!
//! What RFC 9110 §6.5.1 forbids as a trailer was dropped or refused when the body was read.

use super::client_cert;
use super::forwarded;
use super::headers::HeaderRules;
use super::look_alike::is_like;
use crate::message::{Edits, Name, Trailers};

/// What a request's trailers have to keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTrailers<'a> {
    /// Whether the peer's word about the client counts.
    pub(crate) is_trusted: bool,
    /// Whether we ask clients for certificates, and so write of them ourselves.
    pub(crate) asks_for_certificates: bool,
    /// The route's edits.
    pub(crate) edits: &'a HeaderRules,
    /// Edits of this very request: what was taken out of its head.
    pub(crate) own: &'a Edits,
}

impl RequestTrailers<'_> {
    /// The trailers that go to the endpoint; `None` if none are left.
    pub(crate) fn apply(self, trailers: Trailers) -> Option<Trailers> {
        let no_certificates = !self.is_trusted || self.asks_for_certificates;
        without(trailers, |name| {
            forwarded::is_scrubbed(self.is_trusted, name)
                || is_like(name, b"x-request-id")
                || (no_certificates && client_cert::is_of_the_family(name))
                || self.edits.takes_out(name)
                || self.own.is_removed(&Name::from_bytes(name))
        })
    }
}

/// The trailers of a response that go to the client; `None` if none are left. The edits are the route's.
pub(crate) fn of_response(edits: Option<&HeaderRules>, trailers: Trailers) -> Option<Trailers> {
    match edits {
        Some(edits) => without(trailers, |name| edits.takes_out(name)),
        None => Some(trailers),
    }
}

fn without(trailers: Trailers, is_dropped: impl Fn(&[u8]) -> bool) -> Option<Trailers> {
    let trailers = trailers.without(is_dropped);
    (!trailers.is_empty()).then_some(trailers)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{HeaderName, HeaderValue};
    use lb_config::{HeaderEdits, Part, Template};

    use super::*;

    const SENT: [&str; 12] = [
        "x-sum",
        "proxy",
        "x-request-id",
        "x_request_id",
        "x-forwarded-user",
        "x_forwarded_prefix",
        "x-ssl-client-verify",
        "client-cert",
        "x-secret",
        "x_secret",
        "x-set",
        "x-add",
    ];

    fn trailers() -> Trailers {
        let fields = SENT.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
        Trailers::from_headers(&HeaderMap::from_iter(fields)).unwrap().unwrap()
    }

    fn names(trailers: Option<&Trailers>) -> Vec<String> {
        let mut names: Vec<_> = trailers
            .into_iter()
            .flat_map(Trailers::iter)
            .map(|(name, _)| String::from_utf8(name.to_vec()).unwrap())
            .collect();
        names.sort();
        names
    }

    fn edits() -> HeaderRules {
        let value = || Template { parts: vec![Part::Text("v".into())] };
        HeaderRules::new(&HeaderEdits {
            remove: vec!["x-secret".into()],
            set: vec![("x-set".into(), value())],
            add: vec![("x-add".into(), value())],
        })
        .unwrap()
    }

    #[test]
    fn a_client_says_no_more_behind_a_body_than_before_it() {
        let rules =
            RequestTrailers { is_trusted: false, asks_for_certificates: false, edits: &edits(), own: &Edits::new() };
        assert_eq!(names(rules.apply(trailers()).as_ref()), ["x-add", "x-sum"]);
    }

    #[test]
    fn a_trusted_proxy_may_say_who_the_client_is_unless_we_know_better() {
        let edits = edits();
        let rules =
            RequestTrailers { is_trusted: true, asks_for_certificates: false, edits: &edits, own: &Edits::new() };
        let kept = ["client-cert", "x-add", "x-forwarded-user", "x-ssl-client-verify", "x-sum", "x_forwarded_prefix"];
        assert_eq!(names(rules.apply(trailers()).as_ref()), kept);
        let rules = RequestTrailers { asks_for_certificates: true, ..rules };
        assert_eq!(
            names(rules.apply(trailers()).as_ref()),
            ["x-add", "x-forwarded-user", "x-sum", "x_forwarded_prefix"]
        );
    }

    #[test]
    fn what_a_route_takes_out_of_responses_does_not_come_as_a_trailer() {
        let kept = names(of_response(Some(&edits()), trailers()).as_ref());
        assert!(!kept.iter().any(|name| ["x-secret", "x_secret", "x-set"].contains(&&**name)), "{kept:?}");
        assert_eq!(kept.len(), SENT.len() - 3);
        assert_eq!(names(of_response(None, trailers()).as_ref()).len(), SENT.len());
    }
}
