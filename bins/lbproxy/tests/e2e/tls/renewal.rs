//! New files under an unchanged configuration.

use super::{Secure, to};
use crate::support::{Client, Endpoint};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    a_reload_uses_new_files_and_interrupts_no_client,
    a_bad_file_leaves_the_last_good_in_force,
    a_key_readable_by_others_is_a_warning_at_start_and_reload
);

fn shown(client: &mut Client) -> Vec<u8> {
    client.stream.tls().peer_certificates().unwrap()[0].to_vec()
}

fn a_reload_uses_new_files_and_interrupts_no_client(workers: usize) {
    let endpoint = Endpoint::named("a");
    let mut secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let (web, config) = (secure.proxy.web(), secure.client());
    let mut open = Client::tls(web, "a.test", &config);
    assert_eq!(open.get("/").text(), "a");
    let first = shown(&mut open);
    let on_the_page = secure.proxy.status()["certificates"][0].clone();
    assert_eq!(
        (&on_the_page["listener"], &on_the_page["names"][0]),
        (&"web".into(), &"a.test".into()),
        "{on_the_page}"
    );
    assert!(on_the_page["days_left"].as_i64().unwrap() > 1_000, "{on_the_page}");
    assert!(on_the_page["valid_until"].as_str().unwrap().ends_with('Z'), "{on_the_page}");
    let renewed = secure.authority.issue(&["a.test"]);
    secure.renew(&renewed);
    let text = secure.config.clone();
    secure.proxy.reload(&text);
    assert_eq!(open.get("/").text(), "a", "the open connection goes on");
    let mut fresh = Client::tls(web, "a.test", &secure.client());
    assert_eq!(fresh.get("/").text(), "a");
    assert_ne!(shown(&mut fresh), first);
    assert_eq!(shown(&mut fresh), renewed.chain()[0].to_vec());
    let mut again = Client::tls(web, "a.test", &config);
    assert_eq!(again.get("/").text(), "a");
    assert_eq!(again.stream.tls().handshake_kind(), Some(rustls::HandshakeKind::Resumed), "tickets outlive a reload");
}

fn a_bad_file_leaves_the_last_good_in_force(workers: usize) {
    let endpoint = Endpoint::named("a");
    let mut secure = Secure::start(workers, &to(&endpoint.at(), ""), "");
    let web = secure.proxy.web();
    let first = shown(&mut Client::tls(web, "a.test", &secure.client()));
    let text = secure.config.clone();
    let key = secure.directory.path().join("a.key");
    std::fs::write(&key, &secure.authority.issue(&["a.test"]).key).unwrap();
    secure.proxy.reload(&text);
    let line = secure.proxy.wait_log("stays in force");
    assert!(line.contains("a.key") && line.contains("does not belong to the certificate in"), "{line}");
    std::fs::remove_file(&key).unwrap();
    secure.proxy.reload(&text);
    secure.proxy.wait_log("cannot be read");
    let mut client = Client::tls(web, "a.test", &secure.client());
    assert_eq!((client.get("/").text().as_str(), shown(&mut client)), ("a", first));
    // What was never good does not get in.
    let other = text.replace("a.pem", "nothing.pem");
    let why = secure.proxy.reload_refused(&other);
    assert!(why.contains("nothing.pem") && why.contains("cannot be read"), "{why}");
    assert_eq!(client.get("/").text(), "a");
}

fn a_key_readable_by_others_is_a_warning_at_start_and_reload(workers: usize) {
    let mut secure = Secure::start(workers, "[[route]]\nrespond = {}\n", "");
    let told = |log: &[String]| log.iter().filter(|line| line.contains("the private key can be read")).count();
    assert_eq!(told(&secure.proxy.log()), 0);
    let key = secure.directory.path().join("a.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let text = secure.config.clone();
    secure.proxy.reload(&text);
    let line = secure.proxy.wait_log("a.key: the private key can be read by its group (mode 0640); `chmod 600` it");
    assert!(line.contains("WARN"), "{line}");
    let again = crate::support::Proxy::start(&text);
    assert_eq!(told(&again.log()), 1);
}
