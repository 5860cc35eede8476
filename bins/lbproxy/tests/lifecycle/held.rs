//! An endpoint that keeps some of its answers back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Client, Endpoint, Gate, text, wait_until};

/// Answers with its name at once, but what is asked below `/held` only when the gate opens.
pub(crate) struct Held {
    pub(crate) endpoint: Endpoint,
    pub(crate) gate: Gate,
    arrived: Arc<AtomicUsize>,
}

impl Held {
    pub(crate) fn named(name: &'static str) -> Self {
        let (gate, arrived) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let endpoint = {
            let (gate, arrived) = (gate.clone(), Arc::clone(&arrived));
            Endpoint::answering(move |request| {
                if request.head.target().starts_with("/held") {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    gate.wait();
                }
                text(200, name)
            })
        };
        Self { endpoint, gate, arrived }
    }

    /// Its address as the configuration writes it.
    pub(crate) fn at(&self) -> String {
        self.endpoint.at()
    }

    /// Asks for something that is held; back when the endpoint has it.
    #[track_caller]
    pub(crate) fn ask(&self, mut client: Client, path: &str) -> Client {
        let before = self.arrived.load(Ordering::SeqCst);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: example.test\r\n\r\n"));
        wait_until("the held request to arrive", || self.arrived.load(Ordering::SeqCst) > before);
        client
    }
}
