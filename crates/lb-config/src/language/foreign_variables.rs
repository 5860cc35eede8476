//! Variables of nginx, HAProxy and Caddy, and what they are called here.
//!
//! A text with `$host` or `{http.request.host}` in it was written for another proxy. It is valid here, or nearly, and hardly what
//! was meant.

/// Variables of nginx, without their `$`, and ours.
const NGINX: [(&str, &str); 22] = [
    ("host", "{host}"),
    ("http_host", "{host}"),
    ("server_name", "{host}"),
    ("request_uri", "{uri}"),
    ("uri", "{path}"),
    ("document_uri", "{path}"),
    ("args", "{query}"),
    ("query_string", "{query}"),
    ("is_args", "{uri}"),
    ("scheme", "{scheme}"),
    ("request_method", "{method}"),
    ("remote_addr", "{client_ip}"),
    ("realip_remote_addr", "{client_ip}"),
    ("server_port", "{listener_port}"),
    ("request_id", "{request_id}"),
    ("upstream_addr", "{endpoint}"),
    ("proxy_host", "{cluster}"),
    ("proxy_add_x_forwarded_for", ""),
    ("http_upgrade", ""),
    ("connection_upgrade", ""),
    ("remote_user", "{user}"),
    ("status", ""),
];

/// Expressions of HAProxy, without `%[` and `]`, and ours.
const HAPROXY: [(&str, &str); 11] = [
    ("src", "{client_ip}"),
    ("path", "{path}"),
    ("query", "{query}"),
    ("url", "{uri}"),
    ("capture.req.uri", "{uri}"),
    ("method", "{method}"),
    ("dst_port", "{listener_port}"),
    ("unique-id", "{request_id}"),
    ("be_name", "{cluster}"),
    ("srv_name", "{endpoint}"),
    ("hdr(host)", "{host}"),
];

/// Placeholders of Caddy, without their braces, and ours.
const CADDY: [(&str, &str); 19] = [
    ("remote_host", "client_ip"),
    ("remote", "client_ip"),
    ("hostport", "host"),
    ("http.request.host", "host"),
    ("http.request.hostport", "host"),
    ("http.request.method", "method"),
    ("http.request.scheme", "scheme"),
    ("http.request.uri", "uri"),
    ("http.request.orig_uri", "uri"),
    ("http.request.uri.path", "path"),
    ("http.request.uri.query", "query"),
    ("http.request.remote.host", "client_ip"),
    ("http.vars.client_ip", "client_ip"),
    ("http.request.uuid", "request_id"),
    ("uuid", "request_id"),
    ("port", "listener_port"),
    ("http.request.port", "listener_port"),
    ("upstream_hostport", "endpoint"),
    ("http.reverse_proxy.upstream.hostport", "endpoint"),
];

/// Variables of nginx and HAProxy in a text, as they stand there, each with ours; empty where there is none.
pub(crate) fn variables(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |theirs: &str, ours: String| {
        if !found.iter().any(|(known, _)| known == theirs) {
            found.push((theirs.to_owned(), ours));
        }
    };
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        if let Some(ours) = nginx(&rest[..end]) {
            add(&text[at..at + 1 + end], ours);
        }
    }
    for (at, _) in text.match_indices("%[") {
        let inner = &text[at + 2..];
        if let Some(end) = inner.find(']') {
            add(&text[at..at + end + 3], haproxy(&inner[..end]));
        }
    }
    found
}

/// What a variable of nginx, named without its `$`, is here; empty where there is none; `None` if nginx has none either.
pub(crate) fn nginx(name: &str) -> Option<String> {
    if let Some((_, ours)) = NGINX.iter().find(|(theirs, _)| *theirs == name) {
        return Some((*ours).to_owned());
    }
    let named = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    if let Some(header) = named("http_") {
        return Some(format!("{{header:{}}}", header.replace('_', "-")));
    }
    if let Some(cookie) = named("cookie_") {
        return Some(format!("{{cookie:{cookie}}}"));
    }
    (named("arg_").is_some() || named("upstream_http_").is_some() || named("ssl_").is_some()).then(String::new)
}

fn haproxy(expression: &str) -> String {
    // What follows a comma converts the value.
    let (plain, _) = expression.split_once(',').unwrap_or((expression, ""));
    let plain = plain.trim();
    let known = |name: &str| HAPROXY.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
    let argument = |function: &str| {
        let inside = plain.strip_prefix("req.").unwrap_or(plain).strip_prefix(function)?.strip_prefix('(')?;
        Some(inside.strip_suffix(')')?.to_owned())
    };
    known(plain.strip_prefix("req.").unwrap_or(plain))
        .or_else(|| argument("hdr").filter(|name| name.eq_ignore_ascii_case("host")).map(|_| "{host}".to_owned()))
        .or_else(|| argument("hdr").or_else(|| argument("fhdr")).map(|name| format!("{{header:{name}}}")))
        .or_else(|| argument("cook").map(|name| format!("{{cookie:{name}}}")))
        .unwrap_or_default()
}

/// What a word in braces that is no variable is to Caddy, in our words and without braces.
pub(crate) fn placeholder(word: &str) -> Option<String> {
    if let Some((_, ours)) = CADDY.iter().find(|(theirs, _)| *theirs == word) {
        return Some((*ours).to_owned());
    }
    let word = word.strip_prefix("http.request.").unwrap_or(word);
    let named = |kind: &str| word.strip_prefix(kind).filter(|rest| !rest.is_empty());
    named("header.")
        .map(|name| format!("header:{name}"))
        .or_else(|| named("cookie.").map(|name| format!("cookie:{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_others_are_found_and_prices_are_not() {
        let found = |text: &str| -> Vec<String> {
            variables(text).into_iter().map(|(theirs, ours)| format!("{theirs} {ours}")).collect()
        };
        assert_eq!(found("https://$host$request_uri"), ["$host {host}", "$request_uri {uri}"]);
        assert_eq!(
            found("$http_x_api_key $cookie_id $arg_q"),
            ["$http_x_api_key {header:x-api-key}", "$cookie_id {cookie:id}", "$arg_q "]
        );
        assert_eq!(
            found("%[src] %[req.hdr(Host),lower] %[hdr(X-A)] %[req.cook(id)] %[rand]"),
            [
                "%[src] {client_ip}",
                "%[req.hdr(Host),lower] {host}",
                "%[hdr(X-A)] {header:X-A}",
                "%[req.cook(id)] {cookie:id}",
                "%[rand] ",
            ]
        );
        for text in ["5 $", "$5", "$hostname", "100%", "{host}", "$$", "%20[", "^/x$"] {
            assert_eq!(found(text), [] as [String; 0], "{text}");
        }
    }
}
