//! Options of routes.

use super::refused;

#[test]
fn variables_that_are_none() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
headers.request.set = { X-A = "{client-ip}", X-B = "{heder:X}", X-C = "{header:}", X-D = "{nothing_like_it}" }
rate_limit = { rate = "1/s", key = "header:x-api-key" }
"#,
        r#"
lbproxy.toml:4:31: error: `{client-ip}` is not a variable
  |
4 | headers.request.set = { X-A = "{client-ip}", X-B = "{heder:X}", X-C = "{header:}", X-D = "{nothing_like_it}" }
  |                               ^^^^^^^^^^^^^
  = help: did you mean `{client_ip}`? write `{{` for a literal brace

lbproxy.toml:4:52: error: `{heder:X}` is not a variable
  |
4 | headers.request.set = { X-A = "{client-ip}", X-B = "{heder:X}", X-C = "{header:}", X-D = "{nothing_like_it}" }
  |                                                    ^^^^^^^^^^^
  = help: did you mean `{header:X}`? write `{{` for a literal brace

lbproxy.toml:4:71: error: `{header:}` has no name
  |
4 | headers.request.set = { X-A = "{client-ip}", X-B = "{heder:X}", X-C = "{header:}", X-D = "{nothing_like_it}" }
  |                                                                       ^^^^^^^^^^^
  = help: write `{header:NAME}`

lbproxy.toml:4:90: error: `{nothing_like_it}` is not a variable
  |
4 | headers.request.set = { X-A = "{client-ip}", X-B = "{heder:X}", X-C = "{header:}", X-D = "{nothing_like_it}" }
  |                                                                                          ^^^^^^^^^^^^^^^^^^^
  = help: write `{{` for a literal brace; the variables are `{client_ip}`, `{host}`, `{path}`, `{query}`, `{uri}`, `{scheme}`, `{method}`, `{listener_port}`, `{request_id}`, `{route}`, `{cluster}`, `{endpoint}`, `{user}`, `{header:NAME}`, `{cookie:NAME}`

lbproxy.toml:5:36: error: `header:x-api-key` is the same for every request
  |
5 | rate_limit = { rate = "1/s", key = "header:x-api-key" }
  |                                    ^^^^^^^^^^^^^^^^^^
  = expected "client_ip" or a text with `{variables}` such as "{header:X-Api-Key}"
  = help: write "{header:x-api-key}"
"#,
    );
}

#[test]
fn retries_that_cannot_be() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }

[[route]]
path = "/y"
cluster = "app"
retry.on = []
"#,
        r#"
lbproxy.toml:4:22: error: `connect_eror` is neither a failure nor a status
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                      ^^^^^^^^^^^^^^
  = expected "connect_error", "reset", "timeout", "invalid_response" or a status such as 404, "5xx" or "500-504"
  = help: did you mean "connect_error"?

lbproxy.toml:4:38: error: `200` is no failure: statuses below 400 do not count here
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                      ^^^^^
  = expected "connect_error", "reset", "timeout", "invalid_response" or a status such as 404, "5xx" or "500-504"

lbproxy.toml:4:45: error: `99` is not a status
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                             ^^
  = expected "connect_error", "reset", "timeout", "invalid_response" or a status such as 404, "5xx" or "500-504"

lbproxy.toml:4:49: error: `504-500` ends before it begins
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                                 ^^^^^^^^^
  = expected "connect_error", "reset", "timeout", "invalid_response" or a status such as 404, "5xx" or "500-504"

lbproxy.toml:4:60: error: a boolean does not fit here
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                                            ^^^^
  = expected "connect_error", "reset", "timeout", "invalid_response" or a status such as 404, "5xx" or "500-504"

lbproxy.toml:4:78: error: `0` is too small
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                                                              ^
  = expected a whole number from 1 to 100

lbproxy.toml:4:90: error: `20` has no `%`
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                                                                          ^^^^
  = expected a share such as "20%"

lbproxy.toml:4:102: error: `soon` is not a duration
  |
4 | retry = { on = [502, "connect_eror", "200", 99, "504-500", true], attempts = 0, budget = "20", for = "soon" }
  |                                                                                                      ^^^^^^
  = expected a duration such as "250ms", "5s", "2m" or "1h", or "none"

lbproxy.toml:9:12: warning: nothing is tried again
  |
9 | retry.on = []
  |            ^^
  = help: leave `on` out, or write retry = "off"
"#,
    );
}

#[test]
fn limits_that_cannot_be() {
    refused(
        r#"[[route]]
path = "/a"
cluster = "app"
rate_limit = {}

[[route]]
path = "/b"
cluster = "app"
rate_limit = { rate = 10 }

[[route]]
path = "/c"
cluster = "app"
rate_limit = { rate = "10r/s", burst = -1, status = 200, memory = "1B" }

[[route]]
path = "/d"
cluster = "app"
rate_limit = { rate = "1/d", burst = 1000 }
"#,
        r#"
lbproxy.toml:4:14: error: `rate_limit` has no `rate`
  |
4 | rate_limit = {}
  |              ^^
  = help: Requests a period, "10/s" or "60/m".

lbproxy.toml:9:23: error: `10` has no period
  |
9 | rate_limit = { rate = 10 }
  |                       ^^
  = expected a rate such as "10/s" or "60/m"
  = help: write "10/s"

lbproxy.toml:14:23: error: `10r/s` is not a rate
   |
14 | rate_limit = { rate = "10r/s", burst = -1, status = 200, memory = "1B" }
   |                       ^^^^^^^
   = expected a rate such as "10/s" or "60/m"
   = help: write "10/s"

lbproxy.toml:14:40: error: `-1` is too small
   |
14 | rate_limit = { rate = "10r/s", burst = -1, status = 200, memory = "1B" }
   |                                        ^^
   = expected a whole number from 0 to 1000000000

lbproxy.toml:14:53: error: `200` is too small
   |
14 | rate_limit = { rate = "10r/s", burst = -1, status = 200, memory = "1B" }
   |                                                     ^^^
   = expected a whole number from 400 to 599

lbproxy.toml:14:67: error: `1B` is too small
   |
14 | rate_limit = { rate = "10r/s", burst = -1, status = 200, memory = "1B" }
   |                                                                   ^^^^
   = expected at least "1KiB"

lbproxy.toml:19:38: error: the burst would take more than 365 days to refill
   |
19 | rate_limit = { rate = "1/d", burst = 1000 }
   |                                      ^^^^
   = expected a smaller `burst` or a higher `rate`
"#,
    );
}

#[test]
fn two_rate_limits_of_one_name() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
rate_limit = { rate = "1/s", name = "shared" }

[[route]]
path = "/y"
cluster = "app"
rate_limit = { rate = "2/s", name = "shared" }
"#,
        r#"
lbproxy.toml:9:14: error: rate limits named `shared` must have the same rate and key
  |
9 | rate_limit = { rate = "2/s", name = "shared" }
  |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = expected the same `key`, `rate`, `burst`, `algorithm`, `quotas` and `memory`, or another `name`
  = the other one: lbproxy.toml:4:14
  |
4 | rate_limit = { rate = "1/s", name = "shared" }
  |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn sticky_cookies_that_cannot_be_and_a_secret_that_stays_one() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
sticky = { cookie = "a=b", same_site = "Lax", max_age = "1ms", secret = "this stays secret 123", bogus = 1 }

[[route]]
path = "/y"
cluster = "app"
sticky = { cookie = "a", domain = "a b", path = "x", secret = [] }

[[route]]
path = "/z"
cluster = "app"
sticky = { cookie = "a", secret = "" }
"#,
        r#"
lbproxy.toml:4:21: error: `a=b` is not a cookie name
  |
4 | sticky = { cookie = "***", same_site = "***", max_age = "***", secret = ***********************, bogus = 1 }
  |                     ^^^^^
  = expected letters, digits, `-` and `_`

lbproxy.toml:4:40: error: `Lax` is not known here
  |
4 | sticky = { cookie = "***", same_site = "***", max_age = "***", secret = ***********************, bogus = 1 }
  |                                        ^^^^^
  = expected one of "strict", "lax", "none"
  = help: did you mean "lax"?

lbproxy.toml:4:57: error: `1ms` is no whole number of seconds
  |
4 | sticky = { cookie = "***", same_site = "***", max_age = "***", secret = ***********************, bogus = 1 }
  |                                                         ^^^^^
  = expected a duration such as "1h", or "session"

lbproxy.toml:4:98: error: unknown key `bogus` in `sticky`
  |
4 | sticky = { cookie = "***", same_site = "***", max_age = "***", secret = ***********************, bogus = 1 }
  |                                                                                                  ^^^^^
  = expected one of `cookie`, `secure`, `http_only`, `same_site`, `path`, `domain`, `max_age`, `secret`

lbproxy.toml:9:35: error: `a b` is not a host name
  |
9 | sticky = { cookie = "a", domain = "a b", path = "x", secret = [] }
  |                                   ^^^^^
  = expected a domain such as "example.com"

lbproxy.toml:9:49: error: `x` is not a path
  |
9 | sticky = { cookie = "a", domain = "a b", path = "x", secret = [] }
  |                                                 ^^^
  = expected a path such as "/healthz", percent-encoded where need be

lbproxy.toml:9:63: error: an empty list signs nothing
  |
9 | sticky = { cookie = "a", domain = "a b", path = "x", secret = [] }
  |                                                               ^^
  = help: leave `secret` out, or name one

lbproxy.toml:14:35: error: the secret is empty
   |
14 | sticky = { cookie = "a", secret = ** }
   |                                   ^^
   = expected a random text, best of 32 characters or more
"#,
    );
}

#[test]
fn headers_that_are_ours() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
headers.request.set = { Connection = "close", X-A = "1", x-a = "2", "X B" = "3" }
headers.request.add = { Host = "example.com" }
headers.response.remove = ["Content-Length", "X-Ok:"]
headers.response.set = { X-C = "a\r\nb", X-D = 5 }
"#,
        r#"
lbproxy.toml:4:25: error: `Connection` cannot be set: it is lbproxy's own on either side
  |
4 | headers.request.set = { Connection = "close", X-A = "1", x-a = "2", "X B" = "3" }
  |                         ^^^^^^^^^^

lbproxy.toml:4:58: error: the header `x-a` is named twice
  |
4 | headers.request.set = { Connection = "close", X-A = "1", x-a = "2", "X B" = "3" }
  |                                                          ^^^
  = first here: lbproxy.toml:4:47
  |
4 | headers.request.set = { Connection = "close", X-A = "1", x-a = "2", "X B" = "3" }
  |                                               ^^^

lbproxy.toml:4:69: error: `X B` is not a header name
  |
4 | headers.request.set = { Connection = "close", X-A = "1", x-a = "2", "X B" = "3" }
  |                                                                     ^^^^^
  = expected letters, digits and `-`

lbproxy.toml:5:25: error: a request has one `Host`
  |
5 | headers.request.add = { Host = "example.com" }
  |                         ^^^^
  = help: put it under `set`

lbproxy.toml:6:28: error: `Content-Length` cannot be removed: it is lbproxy's own on either side
  |
6 | headers.response.remove = ["Content-Length", "X-Ok:"]
  |                            ^^^^^^^^^^^^^^^^

lbproxy.toml:6:46: error: `X-Ok:` is not a header name
  |
6 | headers.response.remove = ["Content-Length", "X-Ok:"]
  |                                              ^^^^^^^
  = expected letters, digits and `-`
  = help: leave the colon out

lbproxy.toml:7:32: error: `a\r\nb` has a line break or another control character in it
  |
7 | headers.response.set = { X-C = "a\r\nb", X-D = 5 }
  |                                ^^^^^^^^
  = expected one line of text

lbproxy.toml:7:48: error: an integer does not fit here
  |
7 | headers.response.set = { X-C = "a\r\nb", X-D = 5 }
  |                                                ^
  = expected a header's value
"#,
    );
}

#[test]
fn protocols_that_are_none_or_never_switched_to() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
upgrade = ["h2c", "HTTP/2.0", "web socket"]
[[route]]
path = "/y"
cluster = "app"
upgrade = "websocket"
"#,
        r#"
lbproxy.toml:4:12: error: `h2c` is never switched to: what it carries would pass every rule of this proxy
  |
4 | upgrade = ["h2c", "HTTP/2.0", "web socket"]
  |            ^^^^^
  = expected a protocol such as "websocket" or "spdy/3.1"
  = help: HTTP/2 and TLS are spoken from the start of a connection

lbproxy.toml:4:19: error: `HTTP/2.0` is never switched to: what it carries would pass every rule of this proxy
  |
4 | upgrade = ["h2c", "HTTP/2.0", "web socket"]
  |                   ^^^^^^^^^^
  = expected a protocol such as "websocket" or "spdy/3.1"
  = help: HTTP/2 and TLS are spoken from the start of a connection

lbproxy.toml:4:31: error: `web socket` is no protocol
  |
4 | upgrade = ["h2c", "HTTP/2.0", "web socket"]
  |                               ^^^^^^^^^^^^
  = expected a protocol such as "websocket" or "spdy/3.1"

lbproxy.toml:8:11: error: a string does not fit here
  |
8 | upgrade = "websocket"
  |           ^^^^^^^^^^^
  = expected a list, or "any", or "off"
  = help: write ["websocket"]
"#,
    );
}

#[test]
fn windows_and_quotas_that_cannot_be() {
    refused(
        r#"[[route]]
path = "/a"
cluster = "app"
rate_limit = [{ rate = "2000000/s", algorithm = "sliding_window" }, { rate = "9/s", burst = 1, algorithm = "fixed_window" }]

[[route]]
path = "/b"
cluster = "app"
rate_limit = { rate = "9/500ms", algorithm = "fixed_windows" }

[[route]]
path = "/c"
cluster = "app"
rate_limit = { rate = "9/500ms", algorithm = "fixed_window" }

[[route]]
path = "/d"
cluster = "app"
rate_limit = { rate = "9/s", headers = "old", quotas = { plan = { pro = "1/s" }, "{header:X-Plan}" = { pro = "1" } } }
"#,
        r#"
lbproxy.toml:4:24: error: a window counts 1000000 requests at most
  |
4 | rate_limit = [{ rate = "2000000/s", algorithm = "sliding_window" }, { rate = "9/s", burst = 1, algorithm = "fixed_window" }]
  |                        ^^^^^^^^^^^
  = expected a shorter period, or `algorithm = "gcra"`

lbproxy.toml:4:93: error: a window has no `burst`: all requests of a period may come at once
  |
4 | rate_limit = [{ rate = "2000000/s", algorithm = "sliding_window" }, { rate = "9/s", burst = 1, algorithm = "fixed_window" }]
  |                                                                                             ^
  = help: write them into the rate, or `algorithm = "gcra"`

lbproxy.toml:9:46: error: `fixed_windows` is not known here
  |
9 | rate_limit = { rate = "9/500ms", algorithm = "fixed_windows" }
  |                                              ^^^^^^^^^^^^^^^
  = expected one of "gcra", "sliding_window", "fixed_window"
  = help: did you mean "fixed_window"?

lbproxy.toml:14:23: error: the period of a window is too short
   |
14 | rate_limit = { rate = "9/500ms", algorithm = "fixed_window" }
   |                       ^^^^^^^^^
   = expected a second at least, or `algorithm = "gcra"`

lbproxy.toml:19:40: error: `old` is not known here
   |
19 | rate_limit = { rate = "9/s", headers = "old", quotas = { plan = { pro = "1/s" }, "{header:X-Plan}" = { pro = "1" } } }
   |                                        ^^^^^
   = expected one of "legacy", "both"

lbproxy.toml:19:58: error: `plan` is the same for every request
   |
19 | rate_limit = { rate = "9/s", headers = "old", quotas = { plan = { pro = "1/s" }, "{header:X-Plan}" = { pro = "1" } } }
   |                                                          ^^^^
   = expected a text with `{variables}` such as "{header:X-Plan}"

lbproxy.toml:19:110: error: `1` is not a rate
   |
19 | rate_limit = { rate = "9/s", headers = "old", quotas = { plan = { pro = "1/s" }, "{header:X-Plan}" = { pro = "1" } } }
   |                                                                                                              ^^^
   = expected a rate such as "10/s" or "60/m"
"#,
    );
}

#[test]
fn pages_encodings_and_files_that_cannot_be() {
    refused(
        r#"[[route]]
path = "/x"
errors = { "302" = "a.html", nothing = "a.html", "5xx" = "a.png", "404.json" = "a.html" }
compress = { encodings = ["gzip", "gzip"], types = ["html"] }
files = { root = "public", try = ["=404", "../x"], index = ["a/b"] }
maintenance = "yes"
"#,
        r#"
lbproxy.toml:3:12: error: pages are for errors
  |
3 | errors = { "302" = "a.html", nothing = "a.html", "5xx" = "a.png", "404.json" = "a.html" }
  |            ^^^^^
  = expected statuses from 400 to 599

lbproxy.toml:3:30: error: `nothing` is not a status
  |
3 | errors = { "302" = "a.html", nothing = "a.html", "5xx" = "a.png", "404.json" = "a.html" }
  |                              ^^^^^^^
  = expected a status such as "404", "5xx" or "500-504", with ".json" behind it for clients that prefer JSON, or `intercept`

lbproxy.toml:3:58: error: the type of a page is known by its extension
  |
3 | errors = { "302" = "a.html", nothing = "a.html", "5xx" = "a.png", "404.json" = "a.html" }
  |                                                          ^^^^^^^
  = expected a file that ends in one of .html, .htm, .json, .txt, .xhtml, .xml

lbproxy.toml:3:80: error: a page for clients that prefer JSON is JSON
  |
3 | errors = { "302" = "a.html", nothing = "a.html", "5xx" = "a.png", "404.json" = "a.html" }
  |                                                                                ^^^^^^^^
  = expected a file that ends in .json

lbproxy.toml:4:53: error: `html` is no content type
  |
4 | compress = { encodings = ["gzip", "gzip"], types = ["html"] }
  |                                                     ^^^^^^
  = expected a content type such as "text/html", "text/*" or "*/*+json"

lbproxy.toml:5:35: error: `=404` is a status
  |
5 | files = { root = "public", try = ["=404", "../x"], index = ["a/b"] }
  |                                   ^^^^^^
  = expected "{path}", "{path}.html", or a path such as "/index.html"
  = help: without a file the answer is 404

lbproxy.toml:5:43: error: `../x` is no place of a file
  |
5 | files = { root = "public", try = ["=404", "../x"], index = ["a/b"] }
  |                                           ^^^^^^
  = expected "{path}", "{path}.html", or a path such as "/index.html"

lbproxy.toml:5:61: error: `a/b` is a path
  |
5 | files = { root = "public", try = ["=404", "../x"], index = ["a/b"] }
  |                                                             ^^^^^
  = expected the name of a file such as "index.html", without a slash

lbproxy.toml:6:15: error: a string does not fit here
  |
6 | maintenance = "yes"
  |               ^^^^^
  = expected `true`, `false`, or { allow = ["private"] }
"#,
    );
}
