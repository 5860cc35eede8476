//! What a client is told of the limits on its request.
//!
//! `RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers-10: lists with an item for each limit, of which the
//! first has the quota `q` and the window `w` in seconds, the second what is left, `r`, and in how many seconds all of it is
//! there again, `t`. A token bucket is told as what passes at once and the time after which it does again. What an endpoint has in these
//! fields stays beside it: they are lists, and their items have names.
//!
//! `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds) are what came before. They have room for one limit:
//! the one of which the smallest share is left. They replace those of an endpoint, which was asked with less.

use std::fmt::Write;
use std::sync::Arc;

use lb_config::LimitHeaders;
use lb_ratelimit::{Decision, Rule, whole_seconds};

use crate::message::Edits;

/// The limits on a request, and what they have answered.
pub(crate) struct Told(pub(crate) Vec<Limit>);

/// A limit on a request, and what it has answered.
pub(crate) struct Limit {
    pub(crate) headers: LimitHeaders,
    pub(crate) name: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) decision: Decision,
}

/// Adds the fields to a response.
pub(crate) fn write(Told(limits): &Told, edits: &mut Edits) {
    let (mut policy, mut state) = (String::new(), String::new());
    for limit in limits.iter().filter(|limit| limit.headers.draft) {
        if !policy.is_empty() {
            policy.push_str(", ");
            state.push_str(", ");
        }
        let (quota, window) = limit.rule.window();
        push_name(&limit.name, &mut policy);
        push_name(&limit.name, &mut state);
        // Writing to a String cannot fail.
        let _ = write!(policy, ";q={quota};w={}", whole_seconds(window));
        let _ = write!(state, ";r={};t={}", limit.decision.remaining, reset_seconds(&limit.decision));
    }
    if !policy.is_empty() {
        // Names are visible ASCII, the rest is ours.
        let _ = edits.append("RateLimit-Policy", policy);
        let _ = edits.append("RateLimit", state);
    }
    let told = limits.iter().filter(|limit| limit.headers.legacy);
    let share = |limit: &&Limit| {
        let quota = u128::from(limit.rule.window().0.max(1));
        (u128::from(limit.decision.remaining) << 64) / quota
    };
    if let Some(limit) = told.min_by_key(share) {
        let _ = edits.set("X-RateLimit-Limit", limit.rule.window().0.to_string());
        let _ = edits.set("X-RateLimit-Remaining", limit.decision.remaining.to_string());
        let _ = edits.set("X-RateLimit-Reset", reset_seconds(&limit.decision).to_string());
    }
}

/// Zero if all of it is there; else rounded up.
fn reset_seconds(decision: &Decision) -> u64 {
    if decision.reset.is_zero() { 0 } else { whole_seconds(decision.reset) }
}

/// A string of structured fields (RFC 9651 §3.3.3): visible ASCII in quotes. A name may have other characters.
fn push_name(name: &str, out: &mut String) {
    out.push('"');
    for char in name.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            ' '..='~' => out.push(char),
            _ => out.push('_'),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use lb_ratelimit::{Quota, Verdict};

    use super::*;
    use crate::message::{Framing, ResponseHead};
    use crate::wire::h1::{Connection, encode_response};

    fn limit(name: &str, rule: Rule, remaining: u64, reset_ms: u64, (draft, legacy): (bool, bool)) -> Limit {
        let reset = Duration::from_millis(reset_ms);
        let decision = Decision { verdict: Verdict::Pass, delay: Duration::ZERO, remaining, reset };
        Limit { headers: LimitHeaders { draft, legacy }, name: name.into(), rule, decision }
    }

    fn fields(limits: Vec<Limit>) -> Vec<(String, String)> {
        let mut edits = Edits::new();
        write(&Told(limits), &mut edits);
        let head = ResponseHead::build(200).finish().unwrap();
        let mut out = BytesMut::new();
        encode_response(&mut out, &head, &edits, Framing::None, Connection::Implicit);
        let text = String::from_utf8_lossy(&out).into_owned();
        let pairs = text.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_limit_is_an_item_and_a_bucket_is_its_burst() {
        let minute = Duration::from_secs(60);
        let bucket = Rule::from(Quota::per_second(10).with_burst(29));
        let limits = vec![
            limit("api", bucket, 12, 1_701, (true, false)),
            limit("dark", bucket, 0, 0, (false, false)),
            limit("a \"b\\ü", Rule::FixedWindow { limit: 100, period: minute }, 100, 0, (true, false)),
        ];
        let expected = [
            ("RateLimit-Policy", "\"api\";q=30;w=3, \"a \\\"b\\\\_\";q=100;w=60"),
            ("RateLimit", "\"api\";r=12;t=2, \"a \\\"b\\\\_\";r=100;t=0"),
        ];
        assert_eq!(fields(limits), pairs(&expected));
    }

    #[test]
    fn the_old_fields_tell_the_limit_that_is_closest() {
        let hour = Duration::from_secs(3_600);
        let window = |limit| Rule::SlidingWindow { limit, period: hour };
        let limits = vec![
            limit("a", window(10), 5, 1_000, (false, true)),
            limit("b", window(1_000), 300, 90_000, (false, true)),
            limit("c", window(10), 1, 1_000, (true, false)),
        ];
        let expected = [
            ("RateLimit-Policy", "\"c\";q=10;w=3600"),
            ("RateLimit", "\"c\";r=1;t=1"),
            ("X-RateLimit-Limit", "1000"),
            ("X-RateLimit-Remaining", "300"),
            ("X-RateLimit-Reset", "90"),
        ];
        assert_eq!(fields(limits), pairs(&expected));
        assert_eq!(fields(Vec::new()), []);
    }
}
