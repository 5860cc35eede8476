//! Listeners, and what is missing altogether.

use super::{refused, refused_alone};

#[test]
fn a_listener_without_an_address() {
    refused(
        r#"[[listener]]
name = "web"
"#,
        r#"
lbproxy.toml:1:1: error: [[listener]] has no `address`
  |
1 | [[listener]]
  | ^^^^^^^^^^^^
  = help: Where it listens: "0.0.0.0:80", "[::]:80" or "unix:/run/web.sock".
"#,
    );
}

#[test]
fn a_proxy_protocol_that_trusts_all_or_no_networks() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:80"
proxy_protocol = true

[[listener]]
address = "0.0.0.0:81"
proxy_protocol = []

[[listener]]
address = "0.0.0.0:82"
proxy_protocol = "10.0.0.1"
"#,
        r#"
lbproxy.toml:3:18: error: any client could choose its address
  |
3 | proxy_protocol = true
  |                  ^^^^
  = expected false, or the networks that send a header, such as ["10.0.0.0/8"]
  = help: name the proxies in front; ["0.0.0.0/0", "::/0"] is every address

lbproxy.toml:7:18: error: no network would send a header
  |
7 | proxy_protocol = []
  |                  ^^
  = expected false, or the networks that send a header, such as ["10.0.0.0/8"]

lbproxy.toml:11:18: error: a string does not fit here
   |
11 | proxy_protocol = "10.0.0.1"
   |                  ^^^^^^^^^^
   = expected false, or the networks that send a header, such as ["10.0.0.0/8"]
"#,
    );
}

#[test]
fn modes_that_are_none_or_of_a_port() {
    refused(
        r#"[[listener]]
address = "unix:/run/a.sock"
mode = "rw-rw----"

[[listener]]
address = "unix:/run/b.sock"
mode = "1777"

[[listener]]
address = "0.0.0.0:80"
mode = "0660"
"#,
        r#"
lbproxy.toml:3:8: error: `rw-rw----` is no mode
  |
3 | mode = "rw-rw----"
  |        ^^^^^^^^^^^
  = expected permissions such as "0660", or "umask"

lbproxy.toml:7:8: error: `1777` is no mode
  |
7 | mode = "1777"
  |        ^^^^^^
  = expected permissions such as "0660", or "umask"

lbproxy.toml:11:8: error: `mode` is for Unix sockets: a TCP port has no permissions
   |
11 | mode = "0660"
   |        ^^^^^^
"#,
    );
}

#[test]
fn addresses_that_are_none() {
    refused(
        r#"[[listener]]
address = ":8080"

[[listener]]
address = "localhost:8080"

[[listener]]
name = "unix"
address = "unix:"

[cluster.other]
endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
"#,
        r#"
lbproxy.toml:2:11: error: `:8080` is not an address to listen on
  |
2 | address = ":8080"
  |           ^^^^^^^
  = expected an address such as "0.0.0.0:80", "[::1]:80" or "unix:/run/lbproxy.sock"
  = help: write "0.0.0.0:8080" for IPv4 or "[::]:8080" for IPv6

lbproxy.toml:5:11: error: `localhost:8080` is not an address to listen on
  |
5 | address = "localhost:8080"
  |           ^^^^^^^^^^^^^^^^
  = expected an address such as "0.0.0.0:80", "[::1]:80" or "unix:/run/lbproxy.sock"
  = help: write "127.0.0.1:8080"

lbproxy.toml:9:11: error: `unix:` names no path
  |
9 | address = "unix:"
  |           ^^^^^^^
  = expected "unix:" and a path of 1 to 107 bytes

lbproxy.toml:12:14: error: `app` has no port
   |
12 | endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
   |              ^^^^^
   = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"

lbproxy.toml:12:21: error: `10.0.0.256:80` is not an IPv4 address
   |
12 | endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
   |                     ^^^^^^^^^^^^^^^
   = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"

lbproxy.toml:12:38: error: `http://app/` is a URL
   |
12 | endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
   |                                      ^^^^^^^^^^^^^
   = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"
   = help: write "app:80"

lbproxy.toml:12:53: error: `app:80 2` has a space in it
   |
12 | endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
   |                                                     ^^^^^^^^^^
   = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"
   = help: write { address = "app:80", weight = 2 }

lbproxy.toml:12:65: error: `app:0` has port 0, to which nothing can connect
   |
12 | endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
   |                                                                 ^^^^^^^
   = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"

lbproxy.toml:12:74: error: an integer does not fit here
   |
12 | endpoints = ["app", "10.0.0.256:80", "http://app/", "app:80 2", "app:0", 5]
   |                                                                          ^
   = expected an address such as "10.0.0.1:80", "app:80", "[::1]:80", "https://app:443" or "unix:/run/app.sock"
"#,
    );
}

#[test]
fn the_admin_listener_is_not_open_to_all() {
    refused(
        r#"[admin]
address = "0.0.0.0:9900"
"#,
        r#"
lbproxy.toml:2:11: error: the admin listener would be open to every client
  |
2 | address = "0.0.0.0:9900"
  |           ^^^^^^^^^^^^^^
  = expected a loopback address, a Unix socket, or `allow` with client networks
  = help: write address = "127.0.0.1:9900", or add allow = ["10.0.0.0/8"]
"#,
    );
}

#[test]
fn listeners_that_cannot_be_bound_together() {
    refused(
        r#"[admin]
address = "127.0.0.1:8080"

[[listener]]
address = "127.0.0.1:80"

[[listener]]
name = "one"
address = "[::]:8080"

[[listener]]
name = "one"
address = "0.0.0.0:8080"
"#,
        r#"
lbproxy.toml:12:8: error: two listeners are named `one`
   |
12 | name = "one"
   |        ^^^^^
   = the other one: lbproxy.toml:8:8
   |
 8 | name = "one"
   |        ^^^^^

lbproxy.toml:13:11: error: `0.0.0.0:8080` cannot be bound beside the admin listener's `127.0.0.1:8080`
   |
13 | address = "0.0.0.0:8080"
   |           ^^^^^^^^^^^^^^

lbproxy.toml:16:11: error: `0.0.0.0:80` cannot be bound beside `127.0.0.1:80`
   |
16 | address = "0.0.0.0:80"
   |           ^^^^^^^^^^^^
   = the other listener: lbproxy.toml:5:11
   |
 5 | address = "127.0.0.1:80"
   |           ^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn ambiguous_listeners() {
    refused(
        r#"[[listener]]
name = "one"
address = "127.0.0.1:0"

[[listener]]
name = "two"
address = "127.0.0.1:0"
"#,
        r#"
lbproxy.toml:7:11: error: two listeners on `127.0.0.1:0` cannot be distinguished
  |
7 | address = "127.0.0.1:0"
  |           ^^^^^^^^^^^^^
  = help: give one of them a port, or another address of this machine
  = the other listener: lbproxy.toml:3:11
  |
3 | address = "127.0.0.1:0"
  |           ^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_listener_but_no_route() {
    refused_alone(
        r#"[[listener]]
address = "0.0.0.0:80"
"#,
        r#"
lbproxy.toml:1:1: error: there is no route: every request would get a 404
  |
1 | [[listener]]
  | ^
  = expected at least one [[route]] or [[site]]
  = help: add [[route]] and below it cluster = "NAME"
"#,
    );
}

#[test]
fn no_cluster_at_all() {
    refused_alone(
        r#"[[listener]]
address = "0.0.0.0:80"

[[route]]
cluster = "app"
"#,
        r#"
lbproxy.toml:5:11: error: there is no cluster `app`
  |
5 | cluster = "app"
  |           ^^^^^
  = help: add [cluster.app] with its `endpoints`
"#,
    );
}

#[test]
fn networks_that_are_none_or_go_in_a_circle() {
    refused(
        r#"[networks]
office = ["10.0.0.0/8"]
a = ["b"]
b = ["a"]
private = []
"10.0.0.0/8" = []

[[listener]]
address = "0.0.0.0:80"
trusted_proxies = ["offic", "10.0.0.0/33", "", 5]

[[listener]]
address = "0.0.0.0:81"
trusted_proxies = "office"

[[listener]]
address = "0.0.0.0:82"
trusted_proxies = { fil = "x" }
"#,
        r#"
lbproxy.toml:4:6: error: `a` contains itself
  |
4 | b = ["a"]
  |      ^^^

lbproxy.toml:5:1: error: `private` is built in and cannot be another network
  |
5 | private = []
  | ^^^^^^^
  = expected a name of your own, such as `office`

lbproxy.toml:6:1: error: `10.0.0.0/8` is a network and cannot be the name of one
  |
6 | "10.0.0.0/8" = []
  | ^^^^^^^^^^^^
  = expected a name of your own, such as `office`

lbproxy.toml:10:20: error: `offic` is neither a network nor the name of one
   |
10 | trusted_proxies = ["offic", "10.0.0.0/33", "", 5]
   |                    ^^^^^^^
   = expected a network such as "10.0.0.0/8" or "::1", or the name of one, such as "private"
   = help: did you mean "office"?

lbproxy.toml:10:29: error: `10.0.0.0/33` has no prefix length of the address
   |
10 | trusted_proxies = ["offic", "10.0.0.0/33", "", 5]
   |                             ^^^^^^^^^^^^^
   = expected a prefix length of 0 to 32

lbproxy.toml:10:44: error: `` is not a network
   |
10 | trusted_proxies = ["offic", "10.0.0.0/33", "", 5]
   |                                            ^^
   = expected a network such as "10.0.0.0/8" or "::1", or the name of one, such as "private"

lbproxy.toml:10:48: error: an integer does not fit here
   |
10 | trusted_proxies = ["offic", "10.0.0.0/33", "", 5]
   |                                                ^
   = expected a network such as "10.0.0.0/8" or "::1", or the name of one, such as "private"

lbproxy.toml:14:19: error: a string does not fit here
   |
14 | trusted_proxies = "office"
   |                   ^^^^^^^^
   = expected a list of networks such as ["10.0.0.0/8", "private"], of names of `networks`, or { file = "list.txt" }
   = help: write ["office"]

lbproxy.toml:18:21: error: unknown key `fil` in a file of networks
   |
18 | trusted_proxies = { fil = "*" }
   |                     ^^^
   = expected one of `file`
   = help: did you mean `file`?
"#,
    );
}
