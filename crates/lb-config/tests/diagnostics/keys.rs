//! Keys and plain values.

use super::{refused, refused_alone};

#[test]
fn a_misspelt_key_gets_the_nearest_known_one() {
    refused(
        r#"workerz = 2
"#,
        r#"
lbproxy.toml:1:1: error: unknown key `workerz` in the configuration
  |
1 | workerz = 2
  | ^^^^^^^
  = expected one of `workers`, `grace`, `include`, …
  = help: did you mean `workers`?
"#,
    );
}

#[test]
fn a_misspelt_key_is_not_reported_as_missing_as_well() {
    refused(
        r#"[[listener]]
adress = "0.0.0.0:81"

[[route]]
path = "/x"
clutser = "app"
"#,
        r#"
lbproxy.toml:2:1: error: unknown key `adress` in [[listener]]
  |
2 | adress = "**********"
  | ^^^^^^
  = expected one of `name`, `address`, `redirect`, …
  = help: did you mean `address`?

lbproxy.toml:6:1: error: unknown key `clutser` in [[route]]
  |
6 | clutser = "***"
  | ^^^^^^^
  = expected one of `name`, `hosts`, `path`, …
  = help: did you mean `cluster`?
"#,
    );
}

#[test]
fn a_key_of_another_balancer_is_translated() {
    refused(
        r#"[[listener]]
bind = "0.0.0.0:81"

[cluster.other]
servers = ["a:1", "b:1"]
"#,
        r#"
lbproxy.toml:2:1: error: unknown key `bind` in [[listener]]
  |
2 | bind = "**********"
  | ^^^^
  = expected one of `name`, `address`, `redirect`, …
  = help: did you mean `address`?

lbproxy.toml:5:1: error: unknown key `servers` in [cluster]
  |
5 | servers = ["***", "***"]
  | ^^^^^^^
  = expected one of `policy`, `endpoints`, `protocol`, …
  = help: did you mean `endpoints`?
"#,
    );
}

#[test]
fn a_key_in_the_wrong_place_is_sent_home() {
    refused(
        r#"panic_threshold = "10%"
"#,
        r#"
lbproxy.toml:1:1: error: unknown key `panic_threshold` in the configuration
  |
1 | panic_threshold = "***"
  | ^^^^^^^^^^^^^^^
  = expected one of `workers`, `grace`, `include`, …
  = help: `panic_threshold` belongs to [cluster]
"#,
    );
}

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_file() {
    refused(
        r#"workers = 0
grace = 30

[limits]
headers = -1
uri = "8k"
request_body = "0B"
connections = 99999999999999999999
head_timeout = "1.5s"
idle_timeout = "0s"
request_head = 32768
connections_per_client = "many"
"#,
        r#"
lbproxy.toml:1:11: error: `0` is too small
  |
1 | workers = 0
  |           ^
  = expected a whole number from 1 to 1024, or "auto"

lbproxy.toml:2:9: error: `30` has no unit
  |
2 | grace = 30
  |         ^^
  = expected a duration such as "250ms", "5s", "2m" or "1h"
  = help: write "30s" or "30ms"

lbproxy.toml:5:11: error: `-1` is too small
  |
5 | headers = -1
  |           ^^
  = expected a whole number from 1 to 10000

lbproxy.toml:6:7: error: `8k` has an unknown unit
  |
6 | uri = "8k"
  |       ^^^^
  = expected a size such as "512B", "32KiB" or "10MB"
  = help: write "8KiB"

lbproxy.toml:7:16: error: `0B` would refuse everything
  |
7 | request_body = "0B"
  |                ^^^^
  = expected at least "1B", or "none"
  = help: write "none" for no limit

lbproxy.toml:8:15: error: a number beyond 64 bits does not fit here
  |
8 | connections = 99999999999999999999
  |               ^^^^^^^^^^^^^^^^^^^^
  = expected a whole number from 1 to 10000000, or "auto"

lbproxy.toml:9:16: error: `1.5s` has a fraction
  |
9 | head_timeout = "1.5s"
  |                ^^^^^^
  = expected a duration such as "250ms", "5s", "2m" or "1h"
  = help: use a smaller unit: "1500ms" for a second and a half

lbproxy.toml:10:16: error: `0s` is no time at all
   |
10 | idle_timeout = "0s"
   |                ^^^^
   = expected a duration of at least "1ms"

lbproxy.toml:11:16: error: `32768` has no unit
   |
11 | request_head = 32768
   |                ^^^^^
   = expected a size such as "512B", "32KiB" or "10MB"
   = help: write "32768B"

lbproxy.toml:12:26: error: a string does not fit here
   |
12 | connections_per_client = "many"
   |                          ^^^^^^
   = expected a whole number from 1 to 10000000, or "none"
"#,
    );
}

#[test]
fn a_request_is_not_held_back_for_more_than_a_minute() {
    refused(
        r#"[[route]]
cluster = "app"
rate_limit = { rate = "1/m", burst = 4, delay = 2 }
"#,
        r#"
lbproxy.toml:3:49: error: the last of the burst would be held back for more than a minute
  |
3 | rate_limit = { rate = "1/m", burst = 4, delay = 2 }
  |                                                 ^
  = expected a smaller `burst`, a higher `rate` or a higher `delay`
"#,
    );
}

#[test]
fn a_rate_limit_has_no_use_for_all_memory() {
    refused(
        r#"[[route]]
respond = {}
rate_limit = { rate = "1/s", memory = "100000GiB" }
"#,
        r#"
lbproxy.toml:3:39: error: `100000GiB` is more memory than a rate limit has use for
  |
3 | rate_limit = { rate = "1/s", memory = "100000GiB" }
  |                                       ^^^^^^^^^^^
  = expected "16GiB" at most
"#,
    );
}

#[test]
fn a_number_in_quotes_and_a_word_without() {
    refused(
        r#"workers = "2"

[limits]
headers = 100.5

[log]
level = true
format = "jason"
"#,
        r#"
lbproxy.toml:1:11: error: a string does not fit here
  |
1 | workers = "2"
  |           ^^^
  = expected a whole number from 1 to 1024, or "auto"
  = help: write 2 without quotes

lbproxy.toml:4:11: error: a number with a fraction does not fit here
  |
4 | headers = 100.5
  |           ^^^^^
  = expected a whole number from 1 to 10000

lbproxy.toml:7:9: error: a boolean does not fit here
  |
7 | level = true
  |         ^^^^
  = expected one of "error", "warn", "info", "debug", "trace"

lbproxy.toml:8:10: error: `jason` is not known here
  |
8 | format = "jason"
  |          ^^^^^^^
  = expected one of "text", "json"
  = help: did you mean "json"?
"#,
    );
}

#[test]
fn what_is_reserved_is_not_built_yet() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
tls = { certificates = [{ pem = "all.pem" }], acme = "x" }

[[route]]
path = "/x"
cluster = "other"
cache = true
rate_limit = { rate = "1/s", redis = "one" }

[cluster.other]
endpoints = ["a:443", "b:1"]
health.active.agent = true

[log]
access.to = "syslog:local0"
"#,
        r#"
lbproxy.toml:3:47: error: `acme` in `listener.tls` is not built yet
  |
3 | tls = { certificates = [{ pem = "all.pem" }], acme = "x" }
  |                                               ^^^^
  = help: let certbot or another client fetch them into files, and send SIGHUP after a renewal

lbproxy.toml:8:1: error: `cache` in [[route]] is not built yet
  |
8 | cache = true
  | ^^^^^
  = help: let the application or a cache behind lbproxy do it; responses pass unchanged

lbproxy.toml:9:30: error: `redis` in `rate_limit` is not built yet
  |
9 | rate_limit = { rate = "1/s", redis = "one" }
  |                              ^^^^^
  = help: each proxy counts for itself: divide the `rate` by their number

lbproxy.toml:13:15: error: `agent` in `health.active` is not built yet
   |
13 | health.active.agent = true
   |               ^^^^^
   = help: check a `path`, or write command = ["…"]

lbproxy.toml:16:13: error: `syslog:local0` is not built yet
   |
16 | access.to = "syslog:local0"
   |             ^^^^^^^^^^^^^^^
   = expected "stdout", "off" or the path of a file, with a `/` in it
"#,
    );
}

#[test]
fn brackets_of_the_wrong_number() {
    refused_alone(
        r#"[listener]
address = "0.0.0.0:80"

[route]
cluster = "app"

[[cluster]]
endpoints = ["a:1"]
"#,
        r#"
lbproxy.toml:1:1: error: `listener` is a list of tables
  |
1 | [listener]
  | ^^^^^^^^^^
  = help: write [[listener]] with double brackets

lbproxy.toml:4:1: error: `route` is a list of tables
  |
4 | [route]
  | ^^^^^^^
  = help: write [[route]] with double brackets

lbproxy.toml:7:3: error: `cluster` is a table of named clusters
  |
7 | [[cluster]]
  |   ^^^^^^^
  = help: write [cluster.NAME] in place of [[cluster]]
"#,
    );
}

#[test]
fn text_that_is_not_toml() {
    refused_alone(
        r#"workers =
[limits
name = "x
secret = "hidden" oops
"#,
        r#"
lbproxy.toml:1:10: error: not TOML: string values must be quoted
  |
1 | workers =
  |          ^
  = expected literal string

lbproxy.toml:2:8: error: not TOML: unclosed table
  |
2 | [limits
  |        ^
  = expected `]`

lbproxy.toml:4:19: error: not TOML: unexpected key or value
  |
4 | secret = "************
  |                   ^
  = expected newline, `#`
"#,
    );
}

#[test]
fn a_key_written_twice() {
    refused(
        r#"workers = 1
workers = 2
"#,
        r#"
lbproxy.toml:2:1: error: not TOML: duplicate key
  |
2 | workers = 2
  | ^^^^^^^
"#,
    );
}

#[test]
fn variables_of_the_environment() {
    refused(
        r#"grace = "${NOT_SET}"
workers = "${WORDS}"

[limits]
idle_timeout = "${WORDS}"
head_timeout = "${1}"
uri = "${SIZE"

[[route]]
path = "/x"
cluster = "app"
headers.request.set = { X-A = "${BRACES}" }
"#,
        r#"
lbproxy.toml:1:10: error: the environment variable `NOT_SET` is not set
  |
1 | grace = "${NOT_SET}"
  |          ^^^^^^^^^^
  = help: set it, or give a default: `${NOT_SET:-default}`

lbproxy.toml:2:11: error: the value of `${WORDS}` is not a whole number
  |
2 | workers = "${WORDS}"
  |           ^^^^^^^^^^
  = expected a whole number from 1 to 1024, or "auto"

lbproxy.toml:5:16: error: the value of `${WORDS}` is not a duration
  |
5 | idle_timeout = "${WORDS}"
  |                ^^^^^^^^^^
  = expected a duration such as "250ms", "5s", "2m" or "1h"

lbproxy.toml:6:17: error: `${1}` does not name an environment variable
  |
6 | head_timeout = "${1}"
  |                 ^^^^
  = help: there are no groups of a regular expression here; write `$${` for a literal `${`

lbproxy.toml:7:8: error: `${` without a closing `}`
  |
7 | uri = "${SIZE"
  |        ^^^^^^
  = help: write `$${` for a literal `${`

lbproxy.toml:12:31: error: the value of `${BRACES}` has a `{word}` in it that is not a variable
   |
12 | headers.request.set = { X-A = "${BRACES}" }
   |                               ^^^^^^^^^^^
"#,
    );
}

#[test]
fn defaults_are_checked_even_if_not_inherited() {
    refused(
        r#"[defaults.route]
name = "all"
tiemout = {}

[defaults.cluster]
dns = "10s"

[defaults.listener]
address = "0.0.0.0:80"
"#,
        r#"
lbproxy.toml:2:1: error: a `name` belongs to one route and cannot be inherited
  |
2 | name = "all"
  | ^^^^

lbproxy.toml:3:1: error: unknown key `tiemout` in [[route]]
  |
3 | tiemout = {}
  | ^^^^^^^
  = expected one of `name`, `hosts`, `path`, …
  = help: did you mean `timeout`?

lbproxy.toml:6:1: error: unknown key `dns` in [cluster]
  |
6 | dns = "***"
  | ^^^
  = expected one of `policy`, `endpoints`, `protocol`, …
  = help: did you mean `dns_interval`?

lbproxy.toml:8:11: error: unknown key `listener` in [defaults]
  |
8 | [defaults.listener]
  |           ^^^^^^^^
  = expected one of `route`, `cluster`
  = help: `listener` belongs to the top level of the file
"#,
    );
}

#[test]
fn an_error_in_defaults_is_reported_once() {
    refused(
        r#"[defaults.route]
timeout.connect = 5

[[route]]
path = "/x"
cluster = "app"
"#,
        r#"
lbproxy.toml:2:19: error: `5` has no unit
  |
2 | timeout.connect = 5
  |                   ^
  = expected a duration such as "250ms", "5s", "2m" or "1h"
  = help: write "5s" or "5ms"
"#,
    );
}

#[test]
fn an_empty_file() {
    refused_alone(
        r#"
"#,
        r#"
lbproxy.toml:1:1: error: there is no listener
  = expected at least one [[listener]]
  = help: add [[listener]] and below it address = "0.0.0.0:80"
"#,
    );
}
