//! The proxy, its endpoints, and what happens to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::footprint::descriptors;
use crate::support::{Authority, Endpoint, Proxy, text, wait_until};

/// Who serves, as bits, one after the other. Each endpoint goes and comes, and three times one serves alone.
const SERVING: [u8; 10] = [0b1111, 0b0110, 0b0010, 0b1010, 0b1000, 0b1101, 0b0101, 0b0001, 0b0011, 0b1110];
/// How long an endpoint takes over a request for `/slow`, so that some are under way when it dies.
const SLOW: Duration = Duration::from_millis(20);
const POLICIES: [&str; 5] = ["round_robin", "least_request", "peak_ewma", "random", "ip_hash"];

pub(crate) struct Scene {
    pub(crate) proxy: Proxy,
    pub(crate) stopped: usize,
    pub(crate) reloads: usize,
    endpoints: Vec<Endpoint>,
    authority: Authority,
    directory: TempDir,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue(&["a.test"]).write(directory.path(), "a");
        let endpoints: Vec<_> = SERVING[..4].iter().map(|_| answering()).collect();
        let proxy = Proxy::start(&config(&directory, &endpoints, 0));
        Self { proxy, stopped: 0, reloads: 0, endpoints, authority, directory }
    }

    pub(crate) fn plain(&self) -> SocketAddr {
        self.proxy.web()
    }

    pub(crate) fn secured(&self) -> SocketAddr {
        self.proxy.listener("secured")
    }

    /// A client that believes the certificates, whichever is in force.
    pub(crate) fn client(&self, alpn: &str) -> Arc<ClientConfig> {
        let mut config = self.authority.client();
        config.alpn_protocols = vec![alpn.into()];
        Arc::new(config)
    }

    /// Starts the processes of the next phase.
    pub(crate) fn raise_endpoints(&mut self, change: usize) {
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            if is_serving(change, index) {
                endpoint.start();
            }
        }
    }

    /// Kills the processes that no longer serve, with their requests.
    pub(crate) fn drop_endpoints(&mut self, change: usize) {
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            if !is_serving(change, index) {
                self.stopped += usize::from(is_serving(change + SERVING.len() - 1, index));
                endpoint.stop();
            }
        }
    }

    /// Puts another configuration in force, and other certificates.
    pub(crate) fn reload(&mut self) {
        self.reloads += 1;
        self.authority.issue(&["a.test"]).write(self.directory.path(), "a");
        let text = config(&self.directory, &self.endpoints, self.reloads);
        self.proxy.reload(&text);
    }

    /// Ends what the clients left: no endpoint listens, and the first configuration is in force again.
    pub(crate) fn rest(&mut self) {
        self.endpoints.iter_mut().for_each(Endpoint::stop);
        let text = config(&self.directory, &self.endpoints, 0);
        self.proxy.reload(&text);
    }

    /// What is open while no client is there.
    pub(crate) fn descriptors_at_rest(&self) -> usize {
        wait_until("the clients' connections to close", || self.proxy.metric("lbproxy_connections", &[]) == 0.0);
        descriptors(&self.proxy)
    }
}

fn is_serving(change: usize, index: usize) -> bool {
    SERVING[change % SERVING.len()] & (1 << index) != 0
}

/// An endpoint that keeps nothing of what it is asked.
fn answering() -> Endpoint {
    Endpoint::scripted(|wire, _| {
        while let Some(head) = wire.read_head()? {
            if !wire.read_request_body(&head)?.is_whole {
                break;
            }
            if head.target() == "/slow" {
                std::thread::sleep(SLOW);
            }
            wire.write(text(200, "here you are"))?;
        }
        Ok(())
    })
}

/// The configuration of a turn: policy, weights, a route and a listener change.
///
/// `attempts` is more than there are endpoints: with fewer, a request may find as many dead ones in a row.
fn config(directory: &TempDir, endpoints: &[Endpoint], turn: usize) -> String {
    let listed = endpoints.iter().enumerate().map(|(index, endpoint)| {
        let weight = 1 + (turn + index) % 3;
        format!("{{ address = \"{}\", weight = {weight} }}", endpoint.at())
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    let policy = POLICIES[turn % POLICIES.len()];
    let extra = match turn % 2 {
        0 => "",
        _ => {
            "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.3:0\"\n\
             [[route]]\nname = \"extra\"\npath = \"/extra/\"\nrespond = { body = \"extra\" }\n"
        }
    };
    let at = directory.path().display();
    format!(
        "workers = 2\n\
         admin.address = \"127.0.0.1:0\"\n\
         log.access = {{ to = \"{at}/access.log\" }}\n\
         [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"secured\"\naddress = \"127.0.0.2:0\"\n\
         tls.certificates = [{{ cert = \"{at}/a.pem\", key = \"{at}/a.key\" }}]\n\
         [[route]]\nname = \"all\"\ncluster = \"app\"\nretry.attempts = 6\n\
         {extra}\
         [cluster.app]\npolicy = \"{policy}\"\nendpoints = [{listed}]\n\
         health.active = {{ path = \"/healthz\", interval = \"500ms\", timeout = \"500ms\", rise = 1, fall = 2 }}\n\
         health.passive = {{ failures = 3, window = \"10s\", eject_for = \"2s\" }}\n"
    )
}
