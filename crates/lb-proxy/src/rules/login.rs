//! Logins that an endpoint ties to a connection rather than to a request.
//!
//! HTTP is stateless, and NTLM is not: its three messages belong to one connection, and later requests on that connection
//! are treated as the authenticated user's, with or without credentials. Negotiate may carry NTLM, and servers
//! keep its logins by connection as well. So a connection that saw either belongs to one client from then on. Only the
//! two schemes' names are looked at; their content is not parsed.

use crate::message::name::{self, Name};
use crate::message::{RequestHead, ResponseHead};

const SCHEMES: [&[u8]; 2] = [b"NTLM", b"Negotiate"];

/// Whether a request carries credentials that an endpoint may tie to the connection.
pub(crate) fn has_credentials(head: &RequestHead) -> bool {
    [name::AUTHORIZATION, name::PROXY_AUTHORIZATION].into_iter().any(|name| head.headers(name).any(begins_with_scheme))
}

/// Whether a response asks for such a login, or goes on with one.
pub(crate) fn is_challenge(head: &ResponseHead) -> bool {
    let name = match head.status() {
        401 => name::WWW_AUTHENTICATE,
        407 => name::PROXY_AUTHENTICATE,
        _ => return false,
    };
    asks(head, name)
}

#[cold]
fn asks(head: &ResponseHead, name: Name<'_>) -> bool {
    head.headers(name).any(|value| elements(value).any(begins_with_scheme))
}

/// Whether the first word is one of the schemes.
fn begins_with_scheme(text: &[u8]) -> bool {
    let word = text.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The elements of a list: challenges, and their parameters (RFC 9110 §11.6.1). A comma within quotes is none.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    value.split(move |&byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        byte == b',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h1::{HeadLimits, RequestParser};

    fn carries(line: &str) -> bool {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        let limits = HeadLimits { bytes: 4096, headers: 100, uri: 4096 };
        let parsed = RequestParser::new().parse(&mut text.as_bytes().into(), &limits);
        has_credentials(&parsed.unwrap().unwrap())
    }

    fn challenges(status: u16, name: &str, value: &str) -> bool {
        is_challenge(&ResponseHead::build(status).header(name, value).finish().unwrap())
    }

    #[test]
    fn credentials_of_either_scheme_bind_and_others_do_not() {
        for line in [
            "Authorization: NTLM TlRMTVNTUAABAAAA",
            "authorization: ntlm TlRMTVNTUAABAAAA",
            "Authorization: Negotiate YIIJvwYG",
            "Proxy-Authorization: NEGOTIATE YIIJvwYG",
            "Authorization: Basic YTpi\r\nAuthorization: NTLM TlRM",
        ] {
            assert!(carries(line), "{line}");
        }
        for line in
            ["Accept: */*", "Authorization: Basic TlRMTQ==", "Authorization: Bearer NTLM", "X-Authorization: NTLM a"]
        {
            assert!(!carries(line), "{line}");
        }
    }

    #[test]
    fn a_challenge_is_found_among_others() {
        for value in [
            "NTLM",
            "ntlm TlRMTVNTUAACAAAA",
            "Negotiate, NTLM",
            "Basic realm=\"a, b\", NTLM",
            "Basic realm=\"quote \\\" and\",Negotiate",
            "Digest realm=\"a\", qop=\"auth\", nonce=\"x\" , negotiate",
        ] {
            assert!(challenges(401, "WWW-Authenticate", value), "{value}");
            assert!(challenges(407, "Proxy-Authenticate", value), "{value}");
        }
        for value in
            ["Basic realm=\"x, NTLM\"", "Bearer", "", "Basic realm=NTLM", "NTLMv9", "Basic realm=\"\\\", NTLM\""]
        {
            assert!(!challenges(401, "WWW-Authenticate", value), "{value}");
        }
    }

    #[test]
    fn only_a_response_that_refuses_is_a_challenge() {
        assert!(!challenges(200, "WWW-Authenticate", "NTLM"));
        assert!(!challenges(401, "Proxy-Authenticate", "NTLM"));
        assert!(!challenges(407, "WWW-Authenticate", "NTLM"));
    }
}
