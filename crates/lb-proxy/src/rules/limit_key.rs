//! What a rate limit counts by.
//!
//! The client's address unless the route says otherwise, IPv6 by /64 ([`ClientKey`] tells why). Any text of the request
//! will do, but a client can leave most of them out, and one key shared by all who do would either be a way around the
//! limit or shut them all out together. So a text that comes out empty (no such header, no such cookie) is replaced by
//! the client's address. nginx does not count such requests at all.

use lb_config::LimitKey;
use lb_ratelimit::ClientKey;

use super::template::{Facts, Place, fill};

/// Puts the key of a request into `buffer`, whose content is replaced. The bytes are for the limiter alone, which keeps
/// a hash of them.
///
/// Cost: no allocation once the buffer has grown.
pub fn write(key: &LimitKey, facts: &Facts<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    if let LimitKey::Template(template) = key {
        fill(template, Place::Key, facts, buffer);
    }
    if buffer.is_empty() {
        buffer.extend_from_slice(ClientKey::new(facts.origin.client).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use lb_config::{Part, Template, Variable};

    use super::*;
    use crate::rules::testing::{facts, head, origin};

    #[test]
    fn the_key_is_the_address_or_the_text_and_never_empty() {
        let head = head("GET / HTTP/1.1\nHost: a\nX-Api-Key: k7");
        let origin = origin(&head);
        let mut buffer = b"rest of the request before".to_vec();
        let mut key = |key: &LimitKey| {
            write(key, &facts(&head, &origin), &mut buffer);
            buffer.clone()
        };
        let header =
            |name: &str| LimitKey::Template(Template { parts: vec![Part::Variable(Variable::Header(name.into()))] });
        assert_eq!(key(&LimitKey::ClientIp), [192, 0, 2, 1]);
        assert_eq!(key(&header("x-api-key")), b"k7");
        assert_eq!(key(&header("x-none")), [192, 0, 2, 1]);
    }
}
