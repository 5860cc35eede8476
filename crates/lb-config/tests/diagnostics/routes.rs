//! What routes match and do.

use super::refused;

#[test]
fn a_route_to_nowhere_names_the_nearest() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "ap"
listeners = ["wbe"]

[[listener]]
name = "web"
address = "0.0.0.0:81"
"#,
        r#"
lbproxy.toml:3:11: error: there is no cluster `ap`
  |
3 | cluster = "ap"
  |           ^^^^
  = expected `app`
  = help: did you mean `app`?

lbproxy.toml:4:14: error: there is no listener `wbe`
  |
4 | listeners = ["wbe"]
  |              ^^^^^
  = expected one of `web`, `0.0.0.0:80`
  = help: did you mean `web`?
"#,
    );
}

#[test]
fn a_route_that_does_nothing_and_one_that_does_two_things() {
    refused(
        r#"[[route]]
path = "/x"

[[route]]
path = "/y"
cluster = "app"
redirect = "https"
"#,
        r#"
lbproxy.toml:1:1: error: the route does nothing
  |
1 | [[route]]
  | ^^^^^^^^^
  = expected one of `cluster`, `redirect`, `respond`, `files`
  = help: write cluster = "NAME" to forward to [cluster.NAME]

lbproxy.toml:7:1: error: the route has two actions, `cluster` and `redirect`
  |
7 | redirect = "https"
  | ^^^^^^^^
  = expected one of `cluster`, `redirect`, `respond`, `files`
  = the other one: lbproxy.toml:6:1
  |
6 | cluster = "app"
  | ^^^^^^^
"#,
    );
}

#[test]
fn two_routes_for_the_same_requests() {
    refused(
        r#"[[listener]]
name = "web"
address = "0.0.0.0:81"

[[route]]
path = "/x"
hosts = ["a.example", "b.example"]
methods = ["GET", "POST"]
listeners = ["web"]
cluster = "app"

[[route]]
path = "/x/"
hosts = ["B.EXAMPLE"]
methods = ["GET"]
cluster = "app"
"#,
        r#"
lbproxy.toml:12:1: error: another route takes the same requests on the listener `web`
   |
12 | [[route]]
   | ^^^^^^^^^
   = help: give one of them another host, path, method or header, or take it out
   = the other one: lbproxy.toml:5:1
   |
 5 | [[route]]
   | ^^^^^^^^^
"#,
    );
}

#[test]
fn names_that_do_not_tell_apart() {
    refused(
        r#"[[route]]
name = "x"
path = "/x"
cluster = "app"
rate_limit = { rate = "1/s", name = "shared" }

[[route]]
name = "x"
path = "/y"
cluster = "app"
rate_limit = { rate = "2/s", name = "shared" }
"#,
        r#"
lbproxy.toml:8:8: error: two routes are named `x`
  |
8 | name = "x"
  |        ^^^
  = the other one: lbproxy.toml:2:8
  |
2 | name = "x"
  |        ^^^

lbproxy.toml:11:14: error: rate limits named `shared` must have the same rate and key
   |
11 | rate_limit = { rate = "2/s", name = "shared" }
   |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = expected the same `key`, `rate`, `burst`, `algorithm`, `quotas` and `memory`, or another `name`
   = the other one: lbproxy.toml:5:14
   |
 5 | rate_limit = { rate = "1/s", name = "shared" }
   |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn matches_that_cannot_be() {
    refused(
        r#"[[route]]
hosts = ["example.com:80", "*", "a.*.b", "b\u00fccher.example"]
path = "~("
methods = ["get", "G T"]
headers_match = { "X A" = "1", X-B = "~[", X-C = "a\nb", x-b = "2" }
cluster = "app"

[[route]]
path = "/api/*"
cluster = "app"

[[route]]
path = "/a%20b"
cluster = "app"

[[route]]
path = "~* \\.php$"
cluster = "app"

[[route]]
path = "api"
cluster = "app"
"#,
        r#"
lbproxy.toml:2:10: error: `example.com:80` has a port
  |
2 | hosts = ["example.com:80", "*", "a.*.b", "b\u00fccher.example"]
  |          ^^^^^^^^^^^^^^^^
  = expected a host such as "example.com" or "*.example.com"
  = help: write "example.com": hosts match whatever the port

lbproxy.toml:2:28: error: `*` is every host
  |
2 | hosts = ["example.com:80", "*", "a.*.b", "b\u00fccher.example"]
  |                            ^^^
  = expected a host such as "example.com" or "*.example.com"
  = help: leave `hosts` out to take every host

lbproxy.toml:2:33: error: `a.*.b` has a `*` that is not its first label
  |
2 | hosts = ["example.com:80", "*", "a.*.b", "b\u00fccher.example"]
  |                                 ^^^^^^^
  = expected a host such as "example.com" or "*.example.com"

lbproxy.toml:2:42: error: `bücher.example` has letters beyond ASCII (write the `xn--` form)
  |
2 | hosts = ["example.com:80", "*", "a.*.b", "b\u00fccher.example"]
  |                                          ^^^^^^^^^^^^^^^^^^^^^
  = expected a host such as "example.com" or "*.example.com"

lbproxy.toml:3:8: error: `~(` is not a regular expression: unclosed group
  |
3 | path = "~("
  |        ^^^^
  = expected a regular expression without look-around or back-references

lbproxy.toml:4:12: error: `get` is not a method
  |
4 | methods = ["get", "G T"]
  |            ^^^^^
  = expected a method in capitals such as "GET"
  = help: write "GET"

lbproxy.toml:4:19: error: `G T` is not a method
  |
4 | methods = ["get", "G T"]
  |                   ^^^^^
  = expected a method in capitals such as "GET"

lbproxy.toml:5:19: error: `X A` is not a header name
  |
5 | headers_match = { "X A" = "1", X-B = "~[", X-C = "a\nb", x-b = "2" }
  |                   ^^^^^
  = expected letters, digits and `-`

lbproxy.toml:5:38: error: `~[` is not a regular expression: unclosed character class
  |
5 | headers_match = { "X A" = "1", X-B = "~[", X-C = "a\nb", x-b = "2" }
  |                                      ^^^^
  = expected a regular expression without look-around or back-references

lbproxy.toml:5:50: error: `a\nb` has a line break or another control character in it
  |
5 | headers_match = { "X A" = "1", X-B = "~[", X-C = "a\nb", x-b = "2" }
  |                                                  ^^^^^^
  = expected one line of text

lbproxy.toml:5:58: error: the header `x-b` is named twice
  |
5 | headers_match = { "X A" = "1", X-B = "~[", X-C = "a\nb", x-b = "2" }
  |                                                          ^^^
  = first here: lbproxy.toml:5:32
  |
5 | headers_match = { "X A" = "1", X-B = "~[", X-C = "a\nb", x-b = "2" }
  |                                ^^^

lbproxy.toml:9:8: error: `/api/*` ends with a `*`
  |
9 | path = "/api/*"
  |        ^^^^^^^^
  = expected a prefix ("/api/"), an exact path ("=/api") or a regex ("~^/v[0-9]+/")
  = help: write "/api/": a prefix takes everything below it

lbproxy.toml:13:8: error: `/a%20b` is percent-encoded, and paths are matched decoded
   |
13 | path = "/a%20b"
   |        ^^^^^^^^
   = expected a path as it is after decoding: no `?`, `#`, `%xx`, empty, `.` or `..` segments

lbproxy.toml:17:8: error: `~* \\.php$` is not a regular expression
   |
17 | path = "~* \\.php$"
   |        ^^^^^^^^^^^^
   = expected a prefix ("/api/"), an exact path ("=/api") or a regex ("~^/v[0-9]+/")
   = help: write '~(?i)\.php$' to ignore case

lbproxy.toml:21:8: error: `api` is not a path
   |
21 | path = "api"
   |        ^^^^^
   = expected a prefix ("/api/"), an exact path ("=/api") or a regex ("~^/v[0-9]+/")
   = help: a path begins with `/`: "/api"
"#,
    );
}

#[test]
fn redirects_that_cannot_be() {
    refused(
        r#"[[route]]
path = "/a"
redirect = "/new/"

[[route]]
path = "/b"
redirect = { to = "new", status = 300 }

[[route]]
path = "/c"
redirect = { to = "/new?x=1" }

[[route]]
path = "/d"
redirect = { status = 301 }
"#,
        r#"
lbproxy.toml:3:12: error: `/new/` is no redirect
  |
3 | redirect = "/new/"
  |            ^^^^^^^
  = expected "https", or a table with `to`
  = help: write { to = "/new/" }

lbproxy.toml:7:19: error: `new` is neither a path nor a URL
  |
7 | redirect = { to = "new", status = 300 }
  |                   ^^^^^
  = expected a path ("/new/"), a URL ("https://example.com/") or a text with `{variables}`

lbproxy.toml:7:35: error: `300` is no redirect
  |
7 | redirect = { to = "new", status = 300 }
  |                                   ^^^
  = expected 301, 302, 303, 307 or 308

lbproxy.toml:11:19: error: `/new?x=1` has a query or fragment, and a path keeps the request's own
   |
11 | redirect = { to = "/new?x=1" }
   |                   ^^^^^^^^^^
   = expected a path ("/new/"), a URL ("https://example.com/") or a text with `{variables}`
   = help: write the whole URL: "{scheme}://{host}/…"

lbproxy.toml:15:12: error: `redirect` has no `to`
   |
15 | redirect = { status = 301 }
   |            ^^^^^^^^^^^^^^^^
   = help: A path replaces the matched prefix and keeps the rest and the query; a URL, or a text with `{variables}`, is used as written; "https" changes the scheme.
"#,
    );
}

#[test]
fn answers_that_cannot_be() {
    refused(
        r#"[[route]]
path = "/a"
respond = { status = 204, body = "nothing" }

[[route]]
path = "/b"
respond = { status = 99, body = "{clientip} {endpoint}" }

[[route]]
path = "/c"
respond = { body = "{endpoint}", headers = { Content-Type = "text/html", Content-Length = "1" } }
"#,
        r#"
lbproxy.toml:3:27: error: a 204 has no body
  |
3 | respond = { status = 204, body = "nothing" }
  |                           ^^^^

lbproxy.toml:7:22: error: `99` is too small
  |
7 | respond = { status = 99, body = "{clientip} {endpoint}" }
  |                      ^^
  = expected a whole number from 200 to 599

lbproxy.toml:7:33: error: `{clientip}` is not a variable
  |
7 | respond = { status = 99, body = "{clientip} {endpoint}" }
  |                                 ^^^^^^^^^^^^^^^^^^^^^^^
  = help: did you mean `{client_ip}`? write `{{` for a literal brace

lbproxy.toml:11:20: error: `{endpoint}` is not known here: no endpoint has been picked
   |
11 | respond = { body = "{endpoint}", headers = { Content-Type = "text/html", Content-Length = "1" } }
   |                    ^^^^^^^^^^^^

lbproxy.toml:11:46: error: the type is written once
   |
11 | respond = { body = "{endpoint}", headers = { Content-Type = "text/html", Content-Length = "1" } }
   |                                              ^^^^^^^^^^^^
   = help: write `content_type` beside `body`

lbproxy.toml:11:74: error: `Content-Length` cannot be set: it is lbproxy's own on either side
   |
11 | respond = { body = "{endpoint}", headers = { Content-Type = "text/html", Content-Length = "1" } }
   |                                                                          ^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn what_clients_write_where_it_cannot_be_made_harmless() {
    refused(
        r#"[[route]]
path = "/style"
respond = { body = "a { content: '{query}' }", content_type = "text/css" }
[[route]]
path = "/next"
redirect = { to = "{header:X-Next}" }
[[route]]
path = "/host"
redirect = { to = "{host}/new" }
[[route]]
path = "/scheme"
redirect = { to = "{scheme}{uri}" }
[[route]]
path = "/by-hand"
respond = { status = 302, headers = { location = "{path}" } }
headers.response = { set = { Location = "{cookie:next}" }, add = { Location = ["/fine", "{query}"] } }
[[route]]
path = "/fine/by-hand"
respond = { status = 302, headers = { Location = "{scheme}://{host}/" } }
[[route]]
path = "/fine"
redirect = { to = "{scheme}://{host}{uri}?from={cookie:from}" }
[[route]]
path = "/fine/too"
redirect = { to = "{path}/" }
[[route]]
path = "/fine.css"
respond = { body = "/* {route} of {host}, {client_ip} */", content_type = "text/css" }
[[route]]
path = "/fine.js"
respond = { body = "var query = '{query}'", content_type = "text/javascript; charset=utf-8" }
"#,
        r#"
lbproxy.toml:3:63: error: `{query}` cannot be made harmless in a body of this type
  |
3 | respond = { body = "a { content: '{query}' }", content_type = "text/css" }
  |                                                               ^^^^^^^^^^
  = expected text/plain, or a type of HTML, XML, JSON or JavaScript, in which what clients write is escaped
  = the body: lbproxy.toml:3:13
  |
3 | respond = { body = "a { content: '{query}' }", content_type = "text/css" }
  |             ^^^^

lbproxy.toml:6:19: error: `{header:X-Next}` begins with what a client may choose, `javascript:` or nothing included
  |
6 | redirect = { to = "{header:X-Next}" }
  |                   ^^^^^^^^^^^^^^^^^
  = expected a text that begins with a path, a scheme or `{scheme}://`
  = help: write "{scheme}://{host}…" for a URL, "/…" for a path

lbproxy.toml:9:19: error: `{host}/new` begins with what a client may choose, `javascript:` or nothing included
  |
9 | redirect = { to = "{host}/new" }
  |                   ^^^^^^^^^^^^
  = expected a text that begins with a path, a scheme or `{scheme}://`
  = help: write "{scheme}://{host}…" for a URL, "/…" for a path

lbproxy.toml:12:19: error: `{scheme}{uri}` begins with what a client may choose, `javascript:` or nothing included
   |
12 | redirect = { to = "{scheme}{uri}" }
   |                   ^^^^^^^^^^^^^^^
   = expected a text that begins with a path, a scheme or `{scheme}://`
   = help: write "{scheme}://{host}…" for a URL, "/…" for a path

lbproxy.toml:15:50: error: `{path}` begins with what a client may choose, `javascript:` or nothing included
   |
15 | respond = { status = 302, headers = { location = "{path}" } }
   |                                                  ^^^^^^^^
   = expected a text that begins with a path, a scheme or `{scheme}://`
   = help: write "{scheme}://{host}…" for a URL, "/…" for a path

lbproxy.toml:16:41: error: `{cookie:next}` begins with what a client may choose, `javascript:` or nothing included
   |
16 | headers.response = { set = { Location = "{cookie:next}" }, add = { Location = ["/fine", "{query}"] } }
   |                                         ^^^^^^^^^^^^^^^
   = expected a text that begins with a path, a scheme or `{scheme}://`
   = help: write "{scheme}://{host}…" for a URL, "/…" for a path

lbproxy.toml:16:89: error: `{query}` begins with what a client may choose, `javascript:` or nothing included
   |
16 | headers.response = { set = { Location = "{cookie:next}" }, add = { Location = ["/fine", "{query}"] } }
   |                                                                                         ^^^^^^^^^
   = expected a text that begins with a path, a scheme or `{scheme}://`
   = help: write "{scheme}://{host}…" for a URL, "/…" for a path
"#,
    );
}
