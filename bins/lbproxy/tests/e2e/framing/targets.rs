//! A target in absolute form is routed by its target, whatever its `Host`; and paths that climb out are refused.

use crate::support::{Client, Endpoint, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    the_target_decides_and_the_endpoint_sees_one_host,
    paths_that_climb_are_refused,
    parameters_and_long_hosts_do_not_lead_past_a_guard
);

fn the_target_decides_and_the_endpoint_sees_one_host(workers: usize) {
    let (public, private) = (Endpoint::named("public"), Endpoint::named("private"));
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\nhosts = [\"public.test\"]\ncluster = \"public\"\n\
             [[route]]\nhosts = [\"private.test\"]\ncluster = \"private\"\n\
             [cluster.public]\nendpoints = [\"{}\"]\n[cluster.private]\nendpoints = [\"{}\"]\n",
            public.at(),
            private.at()
        ),
    ));
    let mut client = Client::connect(proxy.web());
    let answer = client.ask("GET http://public.test/a?b HTTP/1.1\nHost: private.test");
    assert_eq!((answer.text().as_str(), private.requests()), ("public", 0));
    let seen = public.last().head;
    assert_eq!((seen.target(), seen.header("Host")), ("/a?b", Some("public.test")));
    let answer = client.ask("GET http://PUBLIC.test:80 HTTP/1.1\nHost: private.test");
    assert_eq!(answer.text(), "public");
    assert_eq!(public.last().head.target(), "/");
    assert_eq!(client.ask("GET / HTTP/1.1\nHost: nobody.test").status(), 404);
}

fn paths_that_climb_are_refused(workers: usize) {
    let endpoint = Endpoint::named("open");
    let proxy = Proxy::start(&config(
        workers,
        &format!(
            "[[route]]\npath = \"/open/\"\ncluster = \"app\"\n[[route]]\npath = \"/admin/\"\nrespond = {{ status = 403 }}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            endpoint.at()
        ),
    ));
    let mut client = Client::connect(proxy.web());
    for path in ["/../admin/", "/open/../../x", "/%2e%2e/admin/", "/open/%zz", "/open/%"] {
        assert_eq!(client.get(path).status(), 400, "{path}");
    }
    for path in ["/open/../admin/", "/open/%2e%2e/admin/", "/admin", "/%61dmin/x", "/./admin/"] {
        assert_eq!(client.get(path).status(), 403, "{path}");
    }
    assert_eq!(endpoint.requests(), 0);
    // What passes is sent on unchanged.
    assert_eq!(client.get("/open/./a/../%41?b=/../c").text(), "open");
    assert_eq!(endpoint.last().head.target(), "/open/./a/../%41?b=/../c");
    assert_eq!(client.get("/open/caf\u{e9}?caf\u{e9}").text(), "open");
    assert_eq!(endpoint.last().head.target(), "/open/caf\u{e9}?caf\u{e9}", "nor is UTF-8 escaped");
}

fn parameters_and_long_hosts_do_not_lead_past_a_guard(workers: usize) {
    let endpoint = Endpoint::named("open");
    let guard = |what: &str| format!("[[route]]\n{what}\nrespond = {{ status = 403 }}\n");
    let guards = guard("path = \"/a/admin\"") + &guard("hosts = [\"*.example.org\"]");
    let cluster = format!("[[route]]\ncluster = \"app\"\n[cluster.app]\nendpoints = [\"{}\"]\n", endpoint.at());
    let proxy = Proxy::start(&config(workers, &(guards + &cluster)));
    let mut client = Client::connect(proxy.web());
    // What a reader that drops `;params` would take for the guarded path.
    for path in ["/a;v=1/admin", "/a/admin;x", "/;x/a/admin", "/a/;x/admin", "/a%3bv=1/admin"] {
        assert_eq!(client.get(path).status(), 400, "{path}");
    }
    assert_eq!(client.get("/a/admin/x;v=1").status(), 403);
    let name = |length: usize| format!("{}{}.example.org", "a".repeat(length - 212), ".a".repeat(100));
    for (length, status) in [(253, 403), (254, 400), (255, 400), (256, 400)] {
        assert_eq!(name(length).len(), length);
        let answer = Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nHost: {}", name(length)));
        assert_eq!(answer.status(), status, "{length}");
    }
    assert_eq!(endpoint.requests(), 0);
    // Where both readings lead to one route, the path is sent on as it came.
    assert_eq!(client.get("/b;v=1/c;w").text(), "open");
    assert_eq!(endpoint.last().head.target(), "/b;v=1/c;w");
}
