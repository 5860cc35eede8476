//! Clusters, policies, endpoints, health.

use super::refused;

#[test]
fn policies_that_cannot_be() {
    refused(
        r#"[cluster.a]
endpoints = ["a:1", "b:1"]
policy = "leastconn"

[cluster.b]
endpoints = ["a:1", "b:1"]
policy = { name = "least_request", choices = 9, key = "{uri}" }

[cluster.c]
endpoints = ["a:1", "b:1"]
policy = { name = "p2c", choices = 2, seed = 1 }

[cluster.d]
endpoints = ["a:1", "b:1"]
policy = ["p2c"]
"#,
        r#"
lbproxy.toml:3:10: error: `leastconn` is not a policy
  |
3 | policy = "leastconn"
  |          ^^^^^^^^^^^
  = expected one of "round_robin", "static_stride", "orca", "random", "weighted_random", "least_request", "p2c", "peak_ewma", "least_time", "prequal", "c3", "ip_hash", "hash", "ring_hash", "maglev", "rendezvous", "memento", "first"
  = help: did you mean "least_request"?

lbproxy.toml:7:46: error: `9` does not fit here
  |
7 | policy = { name = "least_request", choices = 9, key = "{uri}" }
  |                                              ^
  = expected a whole number from 1 to 8

lbproxy.toml:7:49: error: the policy `least_request` takes no `key`
  |
7 | policy = { name = "least_request", choices = 9, key = "{uri}" }
  |                                                 ^^^

lbproxy.toml:11:26: error: the policy `p2c` has no option `choices`
   |
11 | policy = { name = "***", choices = 2, seed = 1 }
   |                          ^^^^^^^

lbproxy.toml:11:39: error: unknown key `seed` in `policy`
   |
11 | policy = { name = "***", choices = 2, seed = 1 }
   |                                       ^^^^
   = expected one of `name`, `key`

lbproxy.toml:15:10: error: a list does not fit here
   |
15 | policy = ["p2c"]
   |          ^^^^^^^
   = expected a policy's name, or a table with `name`
"#,
    );
}

#[test]
fn what_hashes_needs_a_key_that_varies() {
    refused(
        r#"[cluster.a]
endpoints = ["a:1", "b:1"]
policy = "maglev"

[cluster.b]
endpoints = ["a:1", "b:1"]
policy = { name = "ring_hash", bounded_load = 1 }

[cluster.c]
endpoints = ["a:1", "b:1"]
policy = { name = "hash", key = "all", choices = 2 }

[cluster.d]
endpoints = ["a:1", "b:1"]
policy = { name = "peak_ewma", decay = "99ms", penalty = 5000 }

[cluster.e]
endpoints = ["a:1", "b:1"]
policy = "ketama"
"#,
        r#"
lbproxy.toml:3:10: error: the policy `maglev` needs a `key`
  |
3 | policy = "maglev"
  |          ^^^^^^^^
  = help: write { name = "maglev", key = "{uri}" }

lbproxy.toml:7:10: error: the policy `ring_hash` needs a `key`
  |
7 | policy = { name = "ring_hash", bounded_load = 1 }
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: add key = "{uri}"

lbproxy.toml:7:47: error: `1` does not fit here
  |
7 | policy = { name = "ring_hash", bounded_load = 1 }
  |                                               ^
  = expected a number from 1.01 to 100

lbproxy.toml:11:33: error: `all` is the same for every request
   |
11 | policy = { name = "hash", key = "all", choices = 2 }
   |                                 ^^^^^
   = expected a text with `{variables}` such as "{uri}"

lbproxy.toml:11:40: error: the policy `hash` has no option `choices`
   |
11 | policy = { name = "hash", key = "all", choices = 2 }
   |                                        ^^^^^^^

lbproxy.toml:15:40: error: `99ms` does not fit here
   |
15 | policy = { name = "peak_ewma", decay = "99ms", penalty = 5000 }
   |                                        ^^^^^^
   = expected a duration from "100ms" to "1000000ms"

lbproxy.toml:15:58: error: `5000` has no unit
   |
15 | policy = { name = "peak_ewma", decay = "99ms", penalty = 5000 }
   |                                                          ^^^^
   = expected a duration such as "250ms", "5s", "2m" or "1h"
   = help: write "5000s" or "5000ms"

lbproxy.toml:19:10: error: `ketama` is not a policy
   |
19 | policy = "ketama"
   |          ^^^^^^^^
   = expected one of "round_robin", "static_stride", "orca", "random", "weighted_random", "least_request", "p2c", "peak_ewma", "least_time", "prequal", "c3", "ip_hash", "hash", "ring_hash", "maglev", "rendezvous", "memento", "first"
   = help: did you mean "ring_hash"?
"#,
    );
}

#[test]
fn endpoints_that_cannot_be() {
    refused(
        r#"[cluster.a]
endpoints = ["a:1", { address = "A:1", weight = 2 }]

[cluster.b]
endpoints = "a:1"

[cluster.c]
endpoints = [{ weight = 70000, max_in_flight = 0 }]

[cluster.d]
policy = "random"
"#,
        r#"
lbproxy.toml:2:21: error: the endpoint `a:1` is listed twice
  |
2 | endpoints = ["a:1", { address = "A:1", weight = 2 }]
  |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write it once, with a `weight`
  = first here: lbproxy.toml:2:14
  |
2 | endpoints = ["a:1", { address = "A:1", weight = 2 }]
  |              ^^^^^

lbproxy.toml:5:13: error: a string does not fit here
  |
5 | endpoints = "a:1"
  |             ^^^^^
  = expected a list
  = help: write ["a:1"]

lbproxy.toml:8:14: error: an endpoint has no `address`
  |
8 | endpoints = [{ weight = 70000, max_in_flight = 0 }]
  |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: Where it is: "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock".

lbproxy.toml:8:25: error: `70000` is too large
  |
8 | endpoints = [{ weight = 70000, max_in_flight = 0 }]
  |                         ^^^^^
  = expected a whole number from 0 to 65535

lbproxy.toml:8:48: error: `0` is too small
  |
8 | endpoints = [{ weight = 70000, max_in_flight = 0 }]
  |                                                ^
  = expected a whole number from 1 to 4294967294, or "none"

lbproxy.toml:10:1: error: [cluster] has no `endpoints`
   |
10 | [cluster.d]
   | ^^^^^^^^^^^
   = help: The endpoints: addresses, or tables with further keys.
"#,
    );
}

#[test]
fn health_that_cannot_be() {
    refused(
        r#"[cluster.a]
endpoints = ["a:1", "b:1"]
health.active = { tcp = true, path = "/x", rise = 0, initial = "unknown", expect = [] , interval = "0s" }
health.passive = { on = ["5xx", "resets"], failures = 0 }

[cluster.b]
endpoints = ["a:1", "b:1"]
health.active = { tcp = true, path = "/x" }

[cluster.c]
endpoints = ["a:1", "b:1"]
health = { active = "on", passive = true }

[cluster.d]
endpoints = ["a:1"]
health.active = { jitter = "60%" }

[cluster.e]
endpoints = ["a:1"]
health.active = { grpc = true, command = ["true"] }

[cluster.f]
endpoints = ["a:1"]
health.active = { command = ["true"], port = 80 }

[cluster.g]
endpoints = ["a:1"]
health.active = { receive = "x", method = "HEAD" }

[cluster.h]
endpoints = ["a:1"]
health.active = { method = "HEAD", body = "~(" }

[cluster.i]
endpoints = ["a:1"]
health.active = { method = "HEAD", body = "ok" }

[cluster.j]
endpoints = ["a:1"]
health.active = { grpc = "shop.Cart" }

[cluster.k]
endpoints = ["a:1"]
protocol = "h2"
health.active = { grpc = "two words", headers = { Host = "a" } }
"#,
        r#"
lbproxy.toml:3:51: error: `0` is too small
  |
3 | health.active = { tcp = true, path = "/x", rise = 0, initial = "unknown", expect = [] , interval = "0s" }
  |                                                   ^
  = expected a whole number from 1 to 1000

lbproxy.toml:3:64: error: `unknown` is not known here
  |
3 | health.active = { tcp = true, path = "/x", rise = 0, initial = "unknown", expect = [] , interval = "0s" }
  |                                                                ^^^^^^^^^
  = expected one of "up", "down"

lbproxy.toml:3:84: error: no status would pass
  |
3 | health.active = { tcp = true, path = "/x", rise = 0, initial = "unknown", expect = [] , interval = "0s" }
  |                                                                                    ^^
  = expected at least one status

lbproxy.toml:3:100: error: `0s` is no time at all
  |
3 | health.active = { tcp = true, path = "/x", rise = 0, initial = "unknown", expect = [] , interval = "0s" }
  |                                                                                                    ^^^^
  = expected a duration of at least "1ms"

lbproxy.toml:4:33: error: `resets` is neither a failure nor a status
  |
4 | health.passive = { on = ["5xx", "resets"], failures = 0 }
  |                                 ^^^^^^^^
  = expected "connect_error", "reset", "timeout", "invalid_response" or a status such as 404, "5xx" or "500-504"
  = help: did you mean "reset"?

lbproxy.toml:4:55: error: `0` is too small
  |
4 | health.passive = { on = ["5xx", "resets"], failures = 0 }
  |                                                       ^
  = expected a whole number from 1 to 65535

lbproxy.toml:8:31: error: `path` has no meaning where `tcp = true`: nothing is asked for
  |
8 | health.active = { tcp = true, path = "/x" }
  |                               ^^^^
  = help: leave one of the two out

lbproxy.toml:12:21: error: a string does not fit here
   |
12 | health = { active = "on", passive = true }
   |                     ^^^^
   = expected a table with the keys `path`, `method`, `host`, `port`, `interval`, `interval_down`, `jitter`, `timeout`, `expect`, `rise`, `fall`, `headers`, `body`, `grpc`, `tcp`, `send`, `receive`, `command`, `initial`, or "off"
   = help: write health.active = { path = "/healthz" }

lbproxy.toml:12:37: error: a boolean does not fit here
   |
12 | health = { active = "on", passive = true }
   |                                     ^^^^
   = expected a table with the keys `failures`, `window`, `eject_for`, `on`, `silence`, `cool_down`, `max_ejected`, or "off"
   = help: write health.passive = { failures = 3 }

lbproxy.toml:16:28: error: this is too much: checks would follow one another at once
   |
16 | health.active = { jitter = "60%" }
   |                            ^^^^^
   = expected at most 50%

lbproxy.toml:20:32: error: `grpc` and `command`: a check asks one thing
   |
20 | health.active = { grpc = true, command = ["true"] }
   |                                ^^^^^^^
   = help: leave one of the two out

lbproxy.toml:24:39: error: `port` has no meaning where `command` is set: the program asks
   |
24 | health.active = { command = ["true"], port = 80 }
   |                                       ^^^^
   = help: leave one of the two out

lbproxy.toml:28:19: error: `receive` has no meaning without `tcp = true`: a request is sent
   |
28 | health.active = { receive = "x", method = "HEAD" }
   |                   ^^^^^^^
   = help: write tcp = true

lbproxy.toml:32:43: error: `~(` is not a regular expression: unclosed group
   |
32 | health.active = { method = "HEAD", body = "~(" }
   |                                           ^^^^
   = expected a regular expression without look-around or back-references

lbproxy.toml:36:36: error: the response to `HEAD` has no body
   |
36 | health.active = { method = "HEAD", body = "ok" }
   |                                    ^^^^
   = help: leave one of the two out

lbproxy.toml:40:1: error: gRPC is spoken over HTTP/2, and this cluster's endpoints are asked by HTTP/1
   |
40 | health.active = { grpc = "shop.Cart" }
   | ^^^^^^
   = help: write protocol = "h2"

lbproxy.toml:45:26: error: `two words` is no service
   |
45 | health.active = { grpc = "two words", headers = { Host = "a" } }
   |                          ^^^^^^^^^^^
   = expected `true`, or the name of a service such as "shop.Cart"

lbproxy.toml:45:51: error: a request has one `Host`
   |
45 | health.active = { grpc = "two words", headers = { Host = "a" } }
   |                                                   ^^^^
   = help: write `host` beside `headers`
"#,
    );
}

#[test]
fn clusters_without_a_name() {
    refused(
        r#"[cluster]
endpoints = ["a:1"]
"#,
        r#"
lbproxy.toml:2:1: error: a cluster needs a name before its keys
  |
2 | endpoints = ["a:1"]
  | ^^^^^^^^^
  = help: write [cluster.NAME] and the keys below it
"#,
    );
}

#[test]
fn tiers_zones_and_subsets_that_cannot_be() {
    refused(
        r#"zone = { proxies = { a = -1 } }

[cluster.a]
endpoints = [{ address = "a:1", priority = 101 }, { address = "b:1", backup = true, priority = 1 }]
spill = "90%"
subset = { size = 0 }

[cluster.b]
endpoints = ["a:1", "b:1"]
spill = "always"
subset = { size = 2, client = "x", number = 1 }
"#,
        r#"
lbproxy.toml:1:8: error: `zone` has no `name`
  |
1 | zone = { proxies = { a = -1 } }
  |        ^^^^^^^^^^^^^^^^^^^^^^^^
  = help: The zone of this proxy; "none" or nothing if it is in none.

lbproxy.toml:1:26: error: `-1` is too small
  |
1 | zone = { proxies = { a = -1 } }
  |                          ^^
  = expected a whole number from 0 to 1000000

lbproxy.toml:4:44: error: `101` is too large
  |
4 | endpoints = [{ address = "a:1", priority = 101 }, { address = "b:1", backup = true, priority = 1 }]
  |                                            ^^^
  = expected a whole number from 0 to 100

lbproxy.toml:4:85: error: a backup has no `priority`: it comes after all others
  |
4 | endpoints = [{ address = "a:1", priority = 101 }, { address = "b:1", backup = true, priority = 1 }]
  |                                                                                     ^^^^^^^^
  = help: leave one of the two out

lbproxy.toml:5:9: error: `90%` does not fit here
  |
5 | spill = "90%"
  |         ^^^^^
  = expected "100%" to "1000%", or "exhausted"

lbproxy.toml:6:10: error: a subset is chosen by `client` or by `number`, one of them
  |
6 | subset = { size = 0 }
  |          ^^^^^^^^^^^^
  = help: write client = "${HOSTNAME}"

lbproxy.toml:6:19: error: `0` is too small
  |
6 | subset = { size = 0 }
  |                   ^
  = expected a whole number from 1 to 1000000

lbproxy.toml:10:9: error: `always` has no `%`
   |
10 | spill = "always"
   |         ^^^^^^^^
   = expected a factor such as "140%", or "exhausted"

lbproxy.toml:11:10: error: a subset is chosen by `client` or by `number`, one of them
   |
11 | subset = { size = 2, client = "x", number = 1 }
   |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = help: write client = "${HOSTNAME}"
"#,
    );
}
