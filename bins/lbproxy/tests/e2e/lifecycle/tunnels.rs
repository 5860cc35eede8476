//! A reload does not cut a WebSocket, whatever it takes away from under it.

use crate::support::{Client, Endpoint, Proxy, SWITCHED, WEBSOCKET, Wire, config, get, wait_until};
use crate::with_one_and_four_workers;

with_one_and_four_workers!(a_tunnel_outlives_reloads_that_remove_all_it_came_by);

fn a_tunnel_outlives_reloads_that_remove_all_it_came_by(workers: usize) {
    let echo = Endpoint::on_head(|wire: &mut Wire, _| {
        wire.write(SWITCHED)?;
        while wire.fill()? > 0 {
            let echoed = std::mem::take(&mut wire.buffer);
            wire.write(echoed)?;
        }
        Ok(())
    });
    let with = |more: &str| {
        config(workers, &format!("[[route]]\npath = \"/plain\"\nrespond = {{ body = \"plain\" }}\n{more}"))
    };
    let tunnelled = format!(
        "[[route]]\npath = \"/ws\"\ncluster = \"echo\"\n[cluster.echo]\nendpoints = [\"{}\"]\n\
         [[listener]]\nname = \"extra\"\naddress = \"127.0.0.2:0\"\n",
        echo.at()
    );
    let mut proxy = Proxy::start(&with(&tunnelled));
    let mut tunnels: Vec<_> = [proxy.web(), proxy.listener("extra"), proxy.web(), proxy.listener("extra")]
        .map(|address| {
            let mut client = Client::connect(address);
            client.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"));
            assert_eq!(client.read_head().unwrap().unwrap().status(), 101);
            client
        })
        .into();
    let mut say = |text: &str| {
        for tunnel in &mut tunnels {
            tunnel.send(text);
            assert_eq!(tunnel.read_exactly(text.len()).unwrap(), text.as_bytes());
        }
    };
    say("before");
    proxy.reload(&with(&tunnelled.replace("[cluster.echo]", "[cluster.echo]\npolicy = \"random\"")));
    say("after a change");
    // Route, cluster, endpoint and listener are gone.
    proxy.reload(&with(""));
    assert_eq!(get(proxy.web(), "/ws").status(), 404);
    say("after they have gone");
    proxy.reload(&with(&tunnelled));
    say("after they have come back");
    assert_eq!(echo.open(), 4);
    drop(tunnels);
    wait_until("the tunnels to be closed", || echo.open() == 0);
}
