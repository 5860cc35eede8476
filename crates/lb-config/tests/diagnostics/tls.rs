//! TLS.

use super::{doubted, refused};

#[test]
fn a_certificate_is_two_files_or_one() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
tls.certificates = [{ cert = "a.pem" }, { key = "a.pem" }, {}, { pem = "a", key = "b" }, { pem = "" }]
"#,
        r#"
lbproxy.toml:3:21: error: a certificate has no `key`
  |
3 | tls.certificates = [{ cert = "a.pem" }, { key = "a.pem" }, {}, { pem = "a", key = "b" }, { pem = "" }]
  |                     ^^^^^^^^^^^^^^^^^^
  = expected { cert = "fullchain.pem", key = "privkey.pem" } or { pem = "all.pem" }

lbproxy.toml:3:41: error: a certificate has no `cert`
  |
3 | tls.certificates = [{ cert = "a.pem" }, { key = "a.pem" }, {}, { pem = "a", key = "b" }, { pem = "" }]
  |                                         ^^^^^^^^^^^^^^^^^
  = expected { cert = "fullchain.pem", key = "privkey.pem" } or { pem = "all.pem" }

lbproxy.toml:3:60: error: a certificate names no file
  |
3 | tls.certificates = [{ cert = "a.pem" }, { key = "a.pem" }, {}, { pem = "a", key = "b" }, { pem = "" }]
  |                                                            ^^
  = expected { cert = "fullchain.pem", key = "privkey.pem" } or { pem = "all.pem" }

lbproxy.toml:3:64: error: a certificate has a `pem`, which is `cert` and `key` in one
  |
3 | tls.certificates = [{ cert = "a.pem" }, { key = "a.pem" }, {}, { pem = "a", key = "b" }, { pem = "" }]
  |                                                                ^^^^^^^^^^^^^^^^^^^^^^^^
  = expected { cert = "fullchain.pem", key = "privkey.pem" } or { pem = "all.pem" }

lbproxy.toml:3:98: error: `` is empty
  |
3 | tls.certificates = [{ cert = "a.pem" }, { key = "a.pem" }, {}, { pem = "a", key = "b" }, { pem = "" }]
  |                                                                                                  ^^
  = expected a text that is not empty
"#,
    );
}

#[test]
fn tls_needs_a_certificate() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
tls.certificates = []

[[listener]]
address = "0.0.0.0:82"
tls.min_version = "1.1"
"#,
        r#"
lbproxy.toml:3:1: error: TLS needs at least one certificate
  |
3 | tls.certificates = []
  | ^^^
  = expected tls = { cert = "fullchain.pem", key = "privkey.pem" }, or a [[site]] with `tls`

lbproxy.toml:7:19: error: `1.1` is not known here
  |
7 | tls.min_version = "1.1"
  |                   ^^^^^
  = expected one of "1.2", "1.3"
  = help: did you mean "1.2"?
"#,
    );
}

#[test]
fn a_cipher_suite_that_does_not_exist_gets_the_nearest_that_does() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
tls.certificates = [{ pem = "a" }]
tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA512", "RC4"]
tls.alpn = ["http1"]
"#,
        r#"
lbproxy.toml:4:22: error: `ECDHE-RSA-AES256-GCM-SHA512` is no cipher suite that lbproxy has
  |
4 | tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA512", "RC4"]
  |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = expected a cipher suite such as "TLS_AES_256_GCM_SHA384" or "ECDHE-RSA-AES256-GCM-SHA384"
  = help: did you mean "ECDHE-RSA-AES256-GCM-SHA384"?

lbproxy.toml:4:53: error: `RC4` is no cipher suite that lbproxy has
  |
4 | tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA512", "RC4"]
  |                                                     ^^^^^
  = expected a cipher suite such as "TLS_AES_256_GCM_SHA384" or "ECDHE-RSA-AES256-GCM-SHA384"

lbproxy.toml:5:13: error: `http1` is not known here
  |
5 | tls.alpn = ["http1"]
  |             ^^^^^^^
  = expected one of "h2", "http/1.1"
"#,
    );
}

#[test]
fn some_suite_must_be_left_to_speak() {
    refused(
        r#"[[listener]]
address = "0.0.0.0:81"
tls.certificates = [{ pem = "a" }]
tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA384"]
tls.min_version = "1.3"
"#,
        r#"
lbproxy.toml:4:21: error: no cipher suite is left of the versions that are spoken
  |
4 | tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA384"]
  |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: leave `cipher_suites` out
"#,
    );
}

#[test]
fn incomplete_tls_to_endpoints_is_an_error() {
    refused(
        r#"[cluster.one]
endpoints = ["unix:/run/app.sock"]
tls.ca = "ca.pem"

[cluster.two]
endpoints = ["a:1", "b:1"]
tls = { client_cert = "c.pem", server_name = "a b" }
"#,
        r#"
lbproxy.toml:3:1: error: `unix:/run/app.sock` has no name that its certificate could be for
  |
3 | tls.ca = "ca.pem"
  | ^^^
  = help: write `tls.server_name`

lbproxy.toml:7:7: error: `client_cert` needs a `client_key`
  |
7 | tls = { client_cert = "c.pem", server_name = "a b" }
  |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: it may be the same file

lbproxy.toml:7:46: error: `a b` is not a host name
  |
7 | tls = { client_cert = "c.pem", server_name = "a b" }
  |                                              ^^^^^
  = expected a host name such as "app.internal", or an address
"#,
    );
}

#[test]
fn weak_tls_settings_are_warnings() {
    doubted(
        r#"[[listener]]
address = "0.0.0.0:81"
tls.certificates = [{ pem = "a" }]
tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA384"]

[[route]]
path = "/x"
cluster = "other"

[cluster.other]
endpoints = ["a:1", "b:1"]
tls = { ca = "ca.pem", verify = false }
"#,
        r#"
lbproxy.toml:4:21: warning: TLS 1.3 is off: `cipher_suites` has none of its suites
  |
4 | tls.cipher_suites = ["ECDHE-RSA-AES256-GCM-SHA384"]
  |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

lbproxy.toml:12:1: warning: `tls.verify = false`: a man in the middle can impersonate the endpoints of `other`
   |
12 | tls = { ca = "ca.pem", verify = false }
   | ^^^
   = help: name their authority with `tls.ca`, or their name with `tls.server_name`

lbproxy.toml:12:9: warning: `ca` has no effect where `verify = false`
   |
12 | tls = { ca = "ca.pem", verify = false }
   |         ^^
"#,
    );
}
