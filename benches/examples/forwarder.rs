//! The floor under any proxy on sockets: it passes on bytes, one endpoint connection for each client connection, and
//! looks at none of them. What it costs, no proxy can save; what a proxy costs beyond it is what the proxy does.
//!
//! ```text
//! cargo run --release -p lb-benches --example forwarder -- 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002
//! ```
//!
//! One thread, as one worker of the proxy. It takes turns between the two sides, one read each, so it serves clients
//! that wait for each answer, and answers that come in one piece.

use std::error::Error;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|address| address.parse()).collect::<Result<_, _>>()?;
    if let [listen, endpoints @ ..] = &addresses[..] {
        let listener = TcpListener::bind(listen).await?;
        for endpoint in endpoints.iter().cycle() {
            let (client, _) = listener.accept().await?;
            tokio::spawn(forward(client, *endpoint));
        }
    }
    Err("usage: forwarder LISTEN ENDPOINT…, each as ADDRESS:PORT".into())
}

/// Takes turns until either side ends; why it did is of no interest to a measurement.
async fn forward(mut client: TcpStream, endpoint: SocketAddr) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut upstream = TcpStream::connect(endpoint).await?;
    upstream.set_nodelay(true)?;
    let mut bytes = vec![0; 64 * 1024];
    while pass(&mut client, &mut upstream, &mut bytes).await? && pass(&mut upstream, &mut client, &mut bytes).await? {}
    Ok(())
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &mut [u8]) -> std::io::Result<bool> {
    let read = from.read(bytes).await?;
    to.write_all(bytes.get(..read).unwrap_or_default()).await?;
    Ok(read > 0)
}
