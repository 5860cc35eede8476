//! A signed token. Keys and tokens are of another implementation, Node's; their time ends in 2100.

use crate::http2::{Caller, run};
use crate::support::{Client, Endpoint, Proxy, config};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(
    only_a_token_that_its_issuer_signed_gets_in,
    keys_are_read_again_and_the_last_good_stay,
    a_shared_secret_and_a_cookie_do_as_well,
);

/// A set of one key on P-256.
const JWKS_ONE: &str = r#"{"keys":[{"kty":"EC","x":"qkcyApKNh1QXY3ftQAhq-hS5D8coT_FhbCSCot2kqGs","y":"h-ml6vY0QBAWSAO-WdGp5l39cMNseESPjLrF4WuMioU","crv":"P-256","kid":"one","use":"sig","alg":"ES256"}]}"#;
/// A set of one RSA key.
const JWKS_TWO: &str = r#"{"keys":[{"kty":"RSA","n":"n4l3G1NBgT30GlnGLxLCvt-_qy68uKwIPRa4jivoIUIH78l6Bllwr3jtCaZEMh1mn9HJHDeIr7qH_VGEIX8ZcyzXd3iALUfPj776Pmyrv8-fFAfLMLecLlbBWf_RfOicq7QBMRQs9qLzI53SVLbqxVqMsJre9v-hIppukxp53OI6-_Ts2Zrtxr2Z7ek70-HJRfq_wgB1LOksqdGoCKShMeTTsAhYtfyl4hF_pPWLSgZS304kpOyDhz5hNpNRvkDM_iGA5TZpTBUpnR_gvMIgvHCBYzq8Gm6ZULmTFkkMOtY0vHyuQNoJqCvlqEygVnJVhF6ycdRSOxyE25apoPLs5w","e":"AQAB","kid":"two","use":"sig"}]}"#;
/// `ann`, who may read and write.
const ES: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2kudGVzdCIsImF1ZCI6WyJhcGkiLCJ4Il0sInN1YiI6ImFubiIsInNjb3BlIjoicmVhZCB3cml0ZSIsImdyb3VwcyI6WyJhIiwiYiJdLCJleHAiOjQxMDI0NDQ4MDB9.nTWgLCx88z6sftdp0OvXeN83kMZWIUdIi6S9-4sz26xJOYB5UGaXjUrWPpte74nqy4uIpM1NLTGRrn8fIWaAjg";
/// `eve`, who may read.
const ES_READ: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2kudGVzdCIsImF1ZCI6ImFwaSIsInN1YiI6ImV2ZSIsInNjb3BlIjoicmVhZCIsImV4cCI6NDEwMjQ0NDgwMH0.-P-5KAI_FLcyMhR8OFrgaad0y1os4LjZEw9QC6WSfmjiwxYYGVEv7bBlbJTtDNLI7Xci1zU7dUk5MfimNCRGFg";
/// `ann`, until 2023.
const ES_OLD: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2kudGVzdCIsImF1ZCI6ImFwaSIsInN1YiI6ImFubiIsInNjb3BlIjoid3JpdGUiLCJleHAiOjE3MDAwMDAwMDB9.9qi-WLORZ4EhX-x0UTjeQ9xIrytk74J1o5UVtZvnIIeiA3X9nk-TCmqYGaevddOtuH0S4KRg_LHg1ghC-DtXjQ";
/// `ann`, of another issuer.
const ES_OTHER: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2oudGVzdCIsImF1ZCI6ImFwaSIsInN1YiI6ImFubiIsInNjb3BlIjoid3JpdGUiLCJleHAiOjQxMDI0NDQ4MDB9.U-ES8WAA91BUTFQIQ3jgLHcYx5B2ms1_Ey9Jsbnc6q2VRI6LGdLQXAjQpmwDPQ6EzrC1EG2wmAS4g5DmD_K2Tw";
/// `bob`, by the other key.
const RS: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InR3byJ9.eyJpc3MiOiJodHRwczovL2kudGVzdCIsImF1ZCI6ImFwaSIsInN1YiI6ImJvYiIsInNjb3BlIjoid3JpdGUiLCJleHAiOjQxMDI0NDQ4MDB9.beUE5lfSBV-2STxlXBXScBo_HCe2BaaZ1PTr7QkmLZFLOPVt3Ov9PkPxxmIS0o5ELnzLRiyMncMhspjGniHtHSDcsHeOCK5cK6R6v_WIiOkcrB5ohqjvfy4o_cznRXNS94Z9B-x_z4pkOQvEqsj5TATsOBOXonlfRZz-OM-kBL3datlldbpe-tx8AL4pX-bMHVpx1i8E50L5vk8BhpC8SnsGOxqBiRE3lHIYjzz4ZOnDLRmN8zy8MKy4xoobKNGjD3-WpkkPByZJcGskgAZjdS3qT4UMMcS0PBUX7T9zabQAcPLtAbDJ86EpaYOo4Wn8NTk41g3XD-2xcNKDNqtKtw";
/// `ann`, without an end, by a shared secret.
const HS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ.rElYakT50DyBJITDRWeKwnRTnj3mrkK_BVgHQzuQHu0";

fn proxy_of(workers: usize, directory: &std::path::Path, endpoint: &Endpoint) -> String {
    config(
        workers,
        &format!(
            "[[route]]\ncluster = \"app\"\n\
             auth = {{ jwt = {{ keys = \"{}\", issuer = \"https://i.test\", audience = \"api\", require = {{ scope = \"write\" }}, \
             copy = {{ X-User = \"sub\", X-Groups = \"groups\" }} }} }}\n\
             [cluster.app]\nendpoints = [\"{}\"]\n",
            directory.join("jwks.json").display(),
            endpoint.at()
        ),
    )
}

fn only_a_token_that_its_issuer_signed_gets_in(workers: usize) {
    let (directory, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::named("app"));
    std::fs::write(directory.path().join("jwks.json"), JWKS_ONE).unwrap();
    let proxy = Proxy::start(&proxy_of(workers, directory.path(), &endpoint));
    let mut client = Client::connect(proxy.web());
    let answer = client.get("/a");
    assert_eq!((answer.status(), answer.header("WWW-Authenticate")), (401, Some("Bearer")));
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.";
    let cut = &ES[..ES.len() - 4];
    for (token, status, says) in [
        (none, 401, "invalid_token"),
        (cut, 401, "invalid_token"),
        (ES_OLD, 401, "invalid_token"),
        (ES_OTHER, 401, "invalid_token"),
        (RS, 401, "invalid_token"),
        (HS, 401, "invalid_token"),
        (ES_READ, 403, "insufficient_scope"),
    ] {
        let answer = client.ask(&format!("GET /a HTTP/1.1\nAuthorization: Bearer {token}"));
        assert_eq!(answer.status(), status, "{token}");
        assert_eq!(answer.header("WWW-Authenticate"), Some(&*format!("Bearer error=\"{says}\"")), "{token}");
    }
    let two = format!("GET /a HTTP/1.1\nAuthorization: Bearer {ES}\nAuthorization: Bearer {none}");
    assert_eq!(client.ask(&two).status(), 401);
    assert_eq!(endpoint.requests(), 0);
    let forged = "X-User: root\nx_user: root\nX.User: root\nX_GROUPS: root";
    assert_eq!(client.ask(&format!("GET /b HTTP/1.1\nAuthorization: Bearer {ES}\n{forged}")).text(), "app");
    let head = endpoint.last().head;
    assert_eq!((head.all("x-user"), head.all("x-groups")), (vec!["ann"], vec!["a,b"]));
    assert!(!format!("{:?}", head.headers).contains("root"), "{head:?}");
    assert_eq!(proxy.access_of("/b")["user"], "ann");
    run(async {
        let mut caller = Caller::connect(proxy.web()).await;
        assert_eq!(caller.get("/").await.status, 401);
        let request =
            caller.request("GET", "/").header("authorization", format!("Bearer {ES}")).header("x_user", "root");
        assert_eq!(caller.ask(request.body(()).unwrap()).await.text(), "app");
    });
    assert_eq!((endpoint.last().head.all("x-user"), endpoint.last().head.has("x_user")), (vec!["ann"], false));
    let reason = proxy.wait_access(|line| line["cause"] == "unauthorized: expired");
    assert!(!reason.to_string().contains("eyJ"), "{reason}");
}

fn keys_are_read_again_and_the_last_good_stay(workers: usize) {
    let (directory, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::named("app"));
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, JWKS_ONE).unwrap();
    let text = proxy_of(workers, directory.path(), &endpoint);
    let mut proxy = Proxy::start(&text);
    let status = |proxy: &Proxy, token: &str| {
        Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\nAuthorization: bearer {token}")).status()
    };
    assert_eq!((status(&proxy, ES), status(&proxy, RS)), (200, 401));
    std::fs::write(&file, JWKS_TWO).unwrap();
    proxy.reload(&text);
    assert_eq!((status(&proxy, ES), status(&proxy, RS)), (401, 200));
    std::fs::write(&file, "{\"keys\": [").unwrap();
    proxy.reload(&text);
    proxy.wait_log("the keys that were read before stay in force");
    assert_eq!((status(&proxy, ES), status(&proxy, RS)), (401, 200));
}

fn a_shared_secret_and_a_cookie_do_as_well(workers: usize) {
    let endpoint = Endpoint::named("app");
    let text = |expiry: &str| {
        config(
            workers,
            &format!(
                "[[route]]\ncluster = \"app\"\nauth = {{ jwt = {{ secret = \"0123456789abcdef0123456789abcdef\", \
                 from = {{ cookie = \"token\" }}{expiry} }} }}\n[cluster.app]\nendpoints = [\"{}\"]\n",
                endpoint.at()
            ),
        )
    };
    let mut proxy = Proxy::start(&text(", expiry = \"optional\""));
    let status =
        |proxy: &Proxy, line: &str| Client::connect(proxy.web()).ask(&format!("GET / HTTP/1.1\n{line}")).status();
    assert_eq!(status(&proxy, &format!("Cookie: a=b; token={HS}")), 200);
    assert_eq!(status(&proxy, &format!("Authorization: Bearer {HS}")), 401);
    assert_eq!(status(&proxy, &format!("Cookie: token={ES}")), 401);
    proxy.reload(&text(""));
    assert_eq!(status(&proxy, &format!("Cookie: token={HS}")), 401, "it has no end");
}
