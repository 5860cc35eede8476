//! The load: requests at a fixed rate, whatever became of those before.
//!
//! A client that waits for each answer sends less while the service is slow, and so hides what an outage costs. Here a request is due at
//! its time, is sent then or as soon as the machine allows, and is timed from when it was due.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// After so long a request has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// From when it was due to the end of the answer.
    pub(crate) took: Duration,
    /// A 200 with its whole body.
    pub(crate) is_well: bool,
    /// How much too late it was sent, for want of processor time.
    pub(crate) late: Duration,
}

/// Requests at a fixed rate, from `start` until `length` has passed; returns when the last is answered.
pub(crate) async fn load(at: SocketAddr, rate: u32, start: Instant, length: Duration) -> Vec<Answer> {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let mut asking = JoinSet::new();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / rate;
        if due >= start + length {
            break;
        }
        sleep_until(due).await;
        let answers = Rc::clone(&answers);
        asking.spawn_local(async move {
            let late = due.elapsed();
            let is_well = matches!(timeout_at(due + PATIENCE, get(at, "/")).await, Ok(Ok((200, _))));
            answers.borrow_mut().push(Answer { took: due.elapsed(), is_well, late });
        });
        // Not kept for the end: they are thousands.
        while asking.try_join_next().is_some() {}
    }
    while asking.join_next().await.is_some() {}
    answers.take()
}

/// Asks for a path on a connection of its own: the status and the body, which must be whole.
pub(crate) async fn get(at: SocketAddr, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    parse(&bytes).ok_or_else(|| io::Error::other("no whole answer"))
}

/// The status and the body of a whole response.
fn parse(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 4..)?);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if header("Transfer-Encoding").is_some() {
        return Some((status, joined(body)?));
    }
    match header("Content-Length") {
        Some(length) => (body.len() == length.parse::<usize>().ok()?).then(|| (status, body.to_vec())),
        // To the end of the connection.
        None => Some((status, body.to_vec())),
    }
}

/// The data of chunks, if the last one is there.
pub(crate) fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(chunks.get(..end)?).ok()?, 16).ok()?;
        if length == 0 {
            return Some(data);
        }
        let rest = chunks.get(end + 2..)?;
        data.extend_from_slice(rest.get(..length)?);
        chunks = rest.get(length + 2..)?;
    }
}
