//! Files in another language, and words of other products.

use lb_config::Config;

use super::{SOUND, doubted, env, refused, refused_alone};

#[test]
fn a_file_in_another_language_is_named_once_and_not_shown() {
    refused_alone(
        "listener:\n  - address: 0.0.0.0:80\n    password: hunter2\n",
        r#"
lbproxy.toml:1:1: error: this is not TOML: it looks like YAML
  = expected TOML: a line such as [[listener]], and below it address = "0.0.0.0:80"
  = help: `lbproxy init` writes a first file; docs/migration.md has the words of other proxies and ours
"#,
    );
    refused_alone(
        "server {\n  listen 80;\n  location / {\n    proxy_pass http://a;\n  }\n}\n",
        r#"
lbproxy.toml:1:1: error: this is not TOML: it looks like a configuration of nginx
  = expected TOML: a line such as [[listener]], and below it address = "0.0.0.0:80"
  = help: `lbproxy init` writes a first file; docs/migration.md has the words of other proxies and ours
"#,
    );
    refused_alone(
        "root:$6$salt$hash:19000:0:99999:7:::\n",
        r#"
lbproxy.toml:1:1: error: this is not TOML, nor any configuration that lbproxy knows
  = expected TOML: a line such as [[listener]], and below it address = "0.0.0.0:80"
  = help: `lbproxy init` writes a first file; docs/migration.md has the words of other proxies and ours
"#,
    );
}

#[test]
fn typographic_quotes_and_special_spaces_are_named() {
    refused_alone(
        "grace = “30s”\nworkers\u{a0}= 2\n",
        r#"
lbproxy.toml:1:9: error: not TOML: string values must be quoted
  |
1 | grace = “30s”
  |         ^^^^^
  = expected literal string
  = help: `“` is a typographic quote; write a plain `"` in its place

lbproxy.toml:2:8: error: not TOML: invalid unquoted key
  |
2 | workers = 2
  |        ^
  = expected letters, numbers, `-`, `_`
  = help: there is a special space (U+00A0) in this line; write a plain one
"#,
    );
}

#[test]
fn a_misspelt_secret_is_one_all_the_same() {
    refused(
        "[[route]]\npath = \"/x\"\ncluster = \"app\"\nsticky = { cookie = \"id\", secrte = \"hunter2\" }\n\n[[route]]\npath = \"/y\"\ncluster = \"app\"\nsticky.cookie = \"id\"\nsticky.secrets = [\n  \"hunter3\",\n]\n",
        r#"
lbproxy.toml:4:21: warning: `sticky` has no `secret`: one is made at start, and cookies live as long as the process
  |
4 | sticky = { cookie = "**", secrte = "*******" }
  |                     ^^^^
  = help: write secret = "${STICKY_SECRET}"

lbproxy.toml:4:27: error: unknown key `secrte` in `sticky`
  |
4 | sticky = { cookie = "**", secrte = "*******" }
  |                           ^^^^^^
  = expected one of `cookie`, `secure`, `http_only`, `same_site`, `path`, `domain`, `max_age`, `secret`
  = help: did you mean `secret`?

lbproxy.toml:9:17: warning: `sticky` has no `secret`: one is made at start, and cookies live as long as the process
  |
9 | sticky.cookie = "id"
  |                 ^^^^
  = help: write secret = "${STICKY_SECRET}"

lbproxy.toml:10:8: error: unknown key `secrets` in `sticky`
   |
10 | sticky.secrets = [
   |        ^^^^^^^
   = expected one of `cookie`, `secure`, `http_only`, `same_site`, `path`, `domain`, `max_age`, `secret`
   = help: did you mean `secret`?
"#,
    );
}

#[test]
fn a_misspelt_secret_is_not_shown_where_the_syntax_is_broken_either() {
    refused_alone(
        "[[listener]]\naddress = \"0.0.0.0:80\"\n[[route]]\ncluster = \"a\"\nsticky = { cookie = \"id\", secrte = \"hunter2\"\n",
        r#"
lbproxy.toml:5:45: error: not TOML: unclosed inline table
  |
5 | sticky = { cookie = "**", secrte = *********
  |                                             ^
  = expected `}`
"#,
    );
}

#[test]
fn a_file_of_passwords_without_quotes_shows_none() {
    refused_alone(
        "DB_PASSWORD=hunter2\nADDRESS=0.0.0.0:80\n",
        r#"
lbproxy.toml:1:13: error: not TOML: string values must be quoted
  |
1 | DB_PASSWORD=*******
  |             ^^^^^^^
  = expected literal string

lbproxy.toml:2:12: error: not TOML: invalid float
  |
2 | ADDRESS=**********
  |            ^^^^^^^
  = expected nothing
"#,
    );
}

#[test]
fn a_secret_that_is_no_string_is_not_shown_either() {
    for secret in ["97531246809753", "9753.1246809753", "\"9753${\"", "word-9753", "9753-word"] {
        let text = format!("[[route]]\ncluster = \"app\"\nsticky.cookie = \"id\"\nsticky.secret = {secret}\n{SOUND}");
        let Err(diagnostics) = Config::parse(&text, &env) else { panic!("accepted: {secret}") };
        let said = diagnostics.to_string();
        assert!(said.contains("4 | sticky.secret = *") || said.contains("4 | sticky.secret = \"*"), "{said}");
        assert!(!said.contains("9753"), "{said}");
    }
}

#[test]
fn variables_of_other_products_are_doubted() {
    doubted(
        r#"[[route]]
path = "/a"
redirect = { to = "https://$host$request_uri" }

[[route]]
path = "/b"
cluster = "app"
headers.request.set = { X-Real-IP = "%[src]", X-Key = "$http_x_key", X-Up = "$upstream_http_x" }

[[route]]
path = "/c"
respond = { body = "It costs $5" }
"#,
        r#"
lbproxy.toml:3:19: warning: `$host`, `$request_uri` are sent as they stand: a variable is written in braces here
  |
3 | redirect = { to = "https://$host$request_uri" }
  |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write `{host}` for `$host`, `{uri}` for `$request_uri`

lbproxy.toml:8:37: warning: `%[src]` is sent as it stands: a variable is written in braces here
  |
8 | headers.request.set = { X-Real-IP = "%[src]", X-Key = "$http_x_key", X-Up = "$upstream_http_x" }
  |                                     ^^^^^^^^
  = help: write `{client_ip}` for `%[src]`

lbproxy.toml:8:55: warning: `$http_x_key` is sent as it stands: a variable is written in braces here
  |
8 | headers.request.set = { X-Real-IP = "%[src]", X-Key = "$http_x_key", X-Up = "$upstream_http_x" }
  |                                                       ^^^^^^^^^^^^^
  = help: write `{header:x-key}` for `$http_x_key`

lbproxy.toml:8:77: warning: `$upstream_http_x` is sent as it stands: a variable is written in braces here
  |
8 | headers.request.set = { X-Real-IP = "%[src]", X-Key = "$http_x_key", X-Up = "$upstream_http_x" }
  |                                                                             ^^^^^^^^^^^^^^^^^^
  = help: lbproxy has no variable for it
"#,
    );
}

#[test]
fn placeholders_of_other_products_are_translated() {
    refused(
        r#"[[route]]
path = "/a"
redirect = { to = "https://{http.request.host}{http.request.uri}" }

[[route]]
path = "/b"
redirect = { to = "https://${host}/${1}" }

[[route]]
path = "/c"
cluster = "app"
headers.request.set = { X-Real-IP = "{remote_host}", X-Key = "{header.X-Key}" }
"#,
        r#"
lbproxy.toml:3:19: error: `{http.request.host}` is not a variable
  |
3 | redirect = { to = "https://{http.request.host}{http.request.uri}" }
  |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write `{host}`

lbproxy.toml:3:19: error: `{http.request.uri}` is not a variable
  |
3 | redirect = { to = "https://{http.request.host}{http.request.uri}" }
  |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write `{uri}`

lbproxy.toml:7:28: error: the environment variable `host` is not set
  |
7 | redirect = { to = "https://${host}/${1}" }
  |                            ^^^^^^^
  = help: write `{host}` for the request's, or set it in the environment

lbproxy.toml:7:36: error: `${1}` does not name an environment variable
  |
7 | redirect = { to = "https://${host}/${1}" }
  |                                    ^^^^
  = help: there are no groups of a regular expression here; write `$${` for a literal `${`

lbproxy.toml:12:37: error: `{remote_host}` is not a variable
   |
12 | headers.request.set = { X-Real-IP = "{remote_host}", X-Key = "{header.X-Key}" }
   |                                     ^^^^^^^^^^^^^^^
   = help: write `{client_ip}`

lbproxy.toml:12:62: error: `{header.X-Key}` is not a variable
   |
12 | headers.request.set = { X-Real-IP = "{remote_host}", X-Key = "{header.X-Key}" }
   |                                                              ^^^^^^^^^^^^^^^^
   = help: write `{header:X-Key}`
"#,
    );
}

#[test]
fn a_foreign_key_in_the_wrong_table_names_the_right_table() {
    refused(
        r#"nodes = ["a:1"]

[[listener]]
address = "0.0.0.0:81"
balance = "p2c"

[[route]]
path = "/a"
cluster = "app"
max_conns = 100
bind = "0.0.0.0:82"
"#,
        r#"
lbproxy.toml:1:1: error: unknown key `nodes` in the configuration
  |
1 | nodes = ["***"]
  | ^^^^^
  = expected one of `workers`, `grace`, `include`, …
  = help: it is `endpoints` here, which belongs to [cluster]

lbproxy.toml:5:1: error: unknown key `balance` in [[listener]]
  |
5 | balance = "***"
  | ^^^^^^^
  = expected one of `name`, `address`, `redirect`, …
  = help: it is `policy` here, which belongs to [cluster]

lbproxy.toml:10:1: error: unknown key `max_conns` in [[route]]
   |
10 | max_conns = 100
   | ^^^^^^^^^
   = expected one of `name`, `hosts`, `path`, …
   = help: it is `max_in_flight` here, which belongs to an endpoint

lbproxy.toml:11:1: error: unknown key `bind` in [[route]]
   |
11 | bind = "**********"
   | ^^^^
   = expected one of `name`, `hosts`, `path`, …
   = help: it is `address` here, which belongs to [[listener]]
"#,
    );
}

#[test]
fn foreign_keys_are_translated() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
mode = "tcp"
http2 = true

[[route]]
path = "/a"
cluster = "app"
gzip = true
strip_prefix = true
basic_auth = "users"

[metrics]
path = "/metrics"

[cluster.b]
nodes = ["a:1"]
max_fails = 3
"#,
        r#"
lbproxy.toml:3:8: error: `tcp` is no mode
  |
3 | mode = "tcp"
  |        ^^^^^
  = expected permissions such as "0660", or "umask"
  = help: `mode` is for Unix sockets; forwarding TCP or UDP is not built yet

lbproxy.toml:4:1: error: unknown key `http2` in [[listener]]
  |
4 | http2 = true
  | ^^^^^
  = expected one of `name`, `address`, `redirect`, …
  = help: no key is needed at a listener: HTTP/2 is on; towards endpoints it is protocol = "h2" in the cluster

lbproxy.toml:9:1: error: unknown key `gzip` in [[route]]
  |
9 | gzip = true
  | ^^^^
  = expected one of `name`, `hosts`, `path`, …
  = help: write compress = "on" in the route, or in [defaults.route] for all

lbproxy.toml:10:1: error: unknown key `strip_prefix` in [[route]]
   |
10 | strip_prefix = true
   | ^^^^^^^^^^^^
   = expected one of `name`, `hosts`, `path`, …
   = help: paths are passed on unchanged: the endpoint must know the prefix, or redirect = { to = "/new/" } the client

lbproxy.toml:11:1: error: unknown key `basic_auth` in [[route]]
   |
11 | basic_auth = "*****"
   | ^^^^^^^^^^
   = expected one of `name`, `hosts`, `path`, …
   = help: write auth = { basic = { users = "users.htpasswd" } } in the route, or auth = { forward = { cluster = "NAME", path = "/…" } }

lbproxy.toml:13:2: error: unknown key `metrics` in the configuration
   |
13 | [metrics]
   |  ^^^^^^^
   = expected one of `workers`, `grace`, `include`, …
   = help: write admin = { address = "127.0.0.1:9900" }: it serves /metrics and /status

lbproxy.toml:17:1: error: unknown key `nodes` in [cluster]
   |
17 | nodes = ["***"]
   | ^^^^^
   = expected one of `policy`, `endpoints`, `protocol`, …
   = help: did you mean `endpoints`?

lbproxy.toml:18:1: error: unknown key `max_fails` in [cluster]
   |
18 | max_fails = 3
   | ^^^^^^^^^
   = expected one of `policy`, `endpoints`, `protocol`, …
   = help: write `health.passive.failures` in the cluster
"#,
    );
    refused(
        "daemon = true\nuser = \"www\"\n",
        r#"
lbproxy.toml:1:1: error: unknown key `daemon` in the configuration
  |
1 | daemon = true
  | ^^^^^^
  = expected one of `workers`, `grace`, `include`, …
  = help: lbproxy stays in the foreground: let systemd or a container run it

lbproxy.toml:2:1: error: unknown key `user` in the configuration
  |
2 | user = "***"
  | ^^^^
  = expected one of `workers`, `grace`, `include`, …
  = help: let systemd start it as that user: `User=`, and `AmbientCapabilities=CAP_NET_BIND_SERVICE` for ports below 1024
"#,
    );
}

#[test]
fn what_is_no_table_gets_an_example() {
    refused(
        r#"[[route]]
path = "/a"
cluster = "app"
sticky = true
retry = 3
timeout = "60s"
rate_limit = "10/s"
headers.response = { "X-Frame-Options" = "DENY" }
"#,
        r#"
lbproxy.toml:4:10: error: a boolean does not fit here
  |
4 | sticky = true
  |          ^^^^
  = expected a table with the keys `cookie`, `secure`, `http_only`, `same_site`, `path`, `domain`, `max_age`, `secret`, or "off"
  = help: write sticky = { cookie = "lb" }

lbproxy.toml:5:9: error: an integer does not fit here
  |
5 | retry = 3
  |         ^
  = expected a table with the keys `on`, `attempts`, `for`, `interval`, `budget`, `unsafe_methods`, `body_limit`, or "off"
  = help: write retry = { attempts = 3 }

lbproxy.toml:6:11: error: a string does not fit here
  |
6 | timeout = "60s"
  |           ^^^^^
  = expected a table with the keys `connect`, `response`, `idle`, `total`, `tunnel`
  = help: write timeout = { response = "60s" }

lbproxy.toml:7:14: error: a string does not fit here
  |
7 | rate_limit = "10/s"
  |              ^^^^^^
  = expected a table with the keys `key`, `rate`, `burst`, `delay`, `algorithm`, `quotas`, `dry_run`, `exempt`, `status`, `headers`, `name`, `memory`, or "off"
  = help: write rate_limit = { rate = "10/s" }

lbproxy.toml:8:22: error: unknown key `X-Frame-Options` in header edits
  |
8 | headers.response = { "X-Frame-Options" = "****" }
  |                      ^^^^^^^^^^^^^^^^^
  = expected one of `remove`, `set`, `add`
  = help: write headers.response.set = { X-Frame-Options = "…" }, or headers.request.set
"#,
    );
}

#[test]
fn addresses_with_a_slip() {
    refused(
        r#"[[listener]]
address = ":70000"

[[listener]]
address = "127.0.0.1:81/"

[cluster.b]
endpoints = ["::1:23101", "127.0.0.1:23101/", "127.0.0.1:23101/app"]
"#,
        r#"
lbproxy.toml:2:11: error: `:70000` has no port between 0 and 65535
  |
2 | address = ":70000"
  |           ^^^^^^^^
  = expected an address such as "0.0.0.0:80", "[::1]:80" or "unix:/run/lbproxy.sock"

lbproxy.toml:5:11: error: `127.0.0.1:81/` has a `/` at its end
  |
5 | address = "127.0.0.1:81/"
  |           ^^^^^^^^^^^^^^^
  = expected an address such as "0.0.0.0:80", "[::1]:80" or "unix:/run/lbproxy.sock"
  = help: write "127.0.0.1:81"

lbproxy.toml:8:14: error: `::1:23101` has an IPv6 address without brackets
  |
8 | endpoints = ["::1:23101", "127.0.0.1:23101/", "127.0.0.1:23101/app"]
  |              ^^^^^^^^^^^
  = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"
  = help: write "[::1]:23101"

lbproxy.toml:8:27: error: `127.0.0.1:23101/` has a `/` at its end
  |
8 | endpoints = ["::1:23101", "127.0.0.1:23101/", "127.0.0.1:23101/app"]
  |                           ^^^^^^^^^^^^^^^^^^
  = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"
  = help: write "127.0.0.1:23101"

lbproxy.toml:8:47: error: `127.0.0.1:23101/app` has a path, which belongs to the request
  |
8 | endpoints = ["::1:23101", "127.0.0.1:23101/", "127.0.0.1:23101/app"]
  |                                               ^^^^^^^^^^^^^^^^^^^^^
  = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"
  = help: write "127.0.0.1:23101"
"#,
    );
}

#[test]
fn foreign_features_without_an_equivalent_key_have_help() {
    for (key, help) in [
        ("hsts", "write headers.response.set = { Strict-Transport-Security = \"max-age=31536000\" } in the route"),
        ("http3", "HTTP/3 is not built yet: clients get HTTP/2, which is on at every listener with `tls`"),
        ("loadBalancer", "write [cluster.NAME] with its `endpoints` and its `policy`"),
        (
            "accessControlAllowOriginList",
            "there is no key for CORS yet: leave it to the application, or set its headers with `headers.response.set`",
        ),
        ("mirror", "mirroring of requests is not built yet"),
        ("passive_health", "write health.passive = { failures = 3 } in the cluster"),
    ] {
        let text = format!("[[route]]\npath = \"/x\"\ncluster = \"app\"\n{key} = true\n{SOUND}");
        let Err(diagnostics) = Config::parse(&text, &env) else { panic!("accepted {key}") };
        let found: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.suggestion.as_deref()).collect();
        assert_eq!(found, [Some(help)], "{key}");
    }
}

#[test]
fn a_header_value_with_an_unknown_variable_is_not_shown() {
    refused(
        r#"[[route]]
path = "/x"
cluster = "app"
headers.request.set = { Authorization = "Bearer hunter2 {tokn} {host}", X-A = 'x{y}' }
headers.request.add.X-Key = ["hunter3", "{client_pi}-hunter4"]
"#,
        r#"
lbproxy.toml:4:41: error: `{tokn}` is not a variable
  |
4 | headers.request.set = { Authorization = "***************{tokn}*******", X-A = '*{y}' }
  |                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write `{{` for a literal brace; the variables are `{client_ip}`, `{host}`, `{path}`, `{query}`, `{uri}`, `{scheme}`, `{method}`, `{listener_port}`, `{request_id}`, `{route}`, `{cluster}`, `{endpoint}`, `{user}`, `{header:NAME}`, `{cookie:NAME}`

lbproxy.toml:4:79: error: `{y}` is not a variable
  |
4 | headers.request.set = { Authorization = "***************{tokn}*******", X-A = '*{y}' }
  |                                                                               ^^^^^^
  = help: write `{{` for a literal brace; the variables are `{client_ip}`, `{host}`, `{path}`, `{query}`, `{uri}`, `{scheme}`, `{method}`, `{listener_port}`, `{request_id}`, `{route}`, `{cluster}`, `{endpoint}`, `{user}`, `{header:NAME}`, `{cookie:NAME}`

lbproxy.toml:5:41: error: `{client_pi}` is not a variable
  |
5 | headers.request.add.X-Key = ["*******", "{client_pi}********"]
  |                                         ^^^^^^^^^^^^^^^^^^^^^
  = help: did you mean `{client_ip}`? write `{{` for a literal brace
"#,
    );
}
