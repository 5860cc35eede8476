//! Routes and clusters out of service.

use super::answering;
use crate::http2::{Caller, run};
use crate::support::{Client, Endpoint, get};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(who_may_pass_does_and_others_are_told_when_to_come_again);

fn who_may_pass_does_and_others_are_told_when_to_come_again(workers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("503.html");
    std::fs::write(&page, "back soon").unwrap();
    let endpoint = Endpoint::named("app");
    let proxy = answering(
        workers,
        &format!(
            "[[route]]\npath = \"/all/\"\ncluster = \"app\"\nmaintenance = true\n\
             [[route]]\npath = \"/some/\"\ncluster = \"app\"\nerrors.\"503\" = \"{0}\"\n\
             maintenance = {{ allow = [\"192.0.2.0/24\"], retry_after = \"90s\" }}\n\
             [[route]]\npath = \"/us/\"\ncluster = \"app\"\nmaintenance = {{ allow = [\"127.0.0.0/8\"] }}\n\
             [[route]]\npath = \"/cluster/\"\ncluster = \"closed\"\nmaintenance = false\n\
             [[route]]\npath = \"/fixed/\"\nrespond = {{}}\nmaintenance = true\n\
             [cluster.app]\nendpoints = [\"{1}\"]\n\
             [cluster.closed]\nmaintenance = true\nendpoints = [\"{1}\"]\n",
            page.display(),
            endpoint.at(),
        ),
    );
    for (path, retry) in [("/all/", "60"), ("/some/", "90"), ("/cluster/", "60"), ("/fixed/", "60")] {
        let answer = get(proxy.web(), path);
        assert_eq!((answer.status(), answer.header("Retry-After")), (503, Some(retry)), "{path}");
        assert_eq!(proxy.access_of(path)["cause"], "maintenance");
    }
    assert_eq!(get(proxy.web(), "/some/").text(), "back soon");
    let answer = Client::connect(proxy.web()).ask("HEAD /some/ HTTP/1.1");
    assert_eq!((answer.status(), answer.header("Content-Length")), (503, Some("9")));
    assert_eq!(get(proxy.web(), "/us/").text(), "app");
    assert_eq!(endpoint.requests(), 1, "nothing else has come through");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        let answer = caller.get("/some/").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("retry-after")), (503, "back soon", "90"));
        assert_eq!(caller.get("/us/").await.status, 200);
    });
}
