//! A load: clients that ask one request after the other and count what fails.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::message::Message;
use super::wait_until;
use super::wire::Wire;

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    report: Arc<Mutex<Report>>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Requests answered with a 200.
    pub(crate) answered: usize,
    /// Everything else, in words.
    pub(crate) failures: Vec<String>,
    /// How often each body was answered.
    pub(crate) by_body: BTreeMap<String, usize>,
}

impl Load {
    /// So many clients, each on a kept connection of its own, ask for `/load` until stopped.
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        Self::asking(address, clients, "GET /load HTTP/1.1\r\nHost: example.test\r\n\r\n")
    }

    /// As [`start`](Self::start), with another request, without a body.
    pub(crate) fn asking(address: SocketAddr, clients: usize, request: &str) -> Self {
        let (stop, done, report) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let threads = (0..clients).map(|_| {
            let (stop, done, report) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&report));
            let request = request.to_owned();
            std::thread::spawn(move || work(address, &request, &stop, &done, &report))
        });
        Self { threads: threads.collect(), stop, done, report }
    }

    /// Waits until so many more requests are over.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, requests: usize) {
        let until = self.done.load(Ordering::SeqCst) + requests;
        wait_until("more requests", || self.done.load(Ordering::SeqCst) >= until);
    }

    /// Stops, and says what came of it.
    pub(crate) fn stop(self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        std::mem::take(&mut *self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// So many clients ask, each request on a connection of its own, until they are refused one. Whoever could connect must
/// be answered with a 200.
pub(crate) fn until_refused(address: SocketAddr, clients: usize) -> Vec<JoinHandle<Result<usize, String>>> {
    let ask_until_refused = move || {
        let mut answered = 0;
        while let Ok(stream) = TcpStream::connect(address) {
            let mut wire = Wire::new(stream);
            let asked = wire.write("GET /load HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            match asked.and_then(|()| wire.read_response("GET")) {
                Ok(answer) if answer.status() == 200 && answer.body.is_whole => answered += 1,
                other => return Err(format!("after {answered}: {other:?}")),
            }
        }
        Ok(answered)
    };
    (0..clients).map(|_| std::thread::spawn(ask_until_refused)).collect()
}

impl Report {
    /// Fails where any request did.
    #[track_caller]
    pub(crate) fn expect_no_failure(&self) {
        let first: Vec<_> = self.failures.iter().take(5).collect();
        assert!(first.is_empty(), "{} of {} failed: {first:?}", self.failures.len(), self.answered);
    }
}

fn work(address: SocketAddr, request: &str, stop: &AtomicBool, done: &AtomicUsize, report: &Mutex<Report>) {
    let mut kept: Option<Wire> = None;
    while !stop.load(Ordering::SeqCst) {
        let result = ask(&mut kept, address, request);
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(answer) if answer.status() == 200 && answer.body.is_whole => {
                report.answered += 1;
                *report.by_body.entry(answer.text()).or_default() += 1;
            }
            Ok(answer) => report.failures.push(format!("{:?} whole={}", answer.head, answer.body.is_whole)),
            Err(error) => report.failures.push(error.to_string()),
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

fn ask(kept: &mut Option<Wire>, address: SocketAddr, request: &str) -> io::Result<Message> {
    let mut wire = match kept.take() {
        Some(wire) => wire,
        None => Wire::new(TcpStream::connect(address)?),
    };
    wire.write(request)?;
    let answer = wire.read_response("GET")?;
    if !answer.head.says_close() && answer.body.is_whole {
        *kept = Some(wire);
    }
    Ok(answer)
}
