//! `lbproxy proxy`: endpoints from the command line, everything else by default.

use lb_config::{AccessLog, AccessTarget, Config, Diagnostics, Loaded};

use crate::args::Proxy;
use crate::exit::Exit;
use crate::{paint, serve};

/// Runs the proxy that the arguments describe.
pub(crate) fn proxy(arguments: &Proxy) -> Exit {
    match config(arguments) {
        Ok(config) => serve::serve(Loaded::without_file(config), None),
        Err(diagnostics) => {
            paint::show(&diagnostics);
            Exit::Usage
        }
    }
}

fn config(arguments: &Proxy) -> Result<Config, Diagnostics> {
    let Proxy { listen, to, policy, health, admin, access_log } = arguments;
    let mut config = Config::for_proxy(listen, to, Some(policy), health.as_deref(), admin.as_deref())?;
    config.log.access = access_log.format().map(|format| AccessLog { format, to: AccessTarget::Stdout });
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use lb_config::ListenAddress;

    use super::*;
    use crate::args::{Arguments, Command};

    fn made(line: &str) -> Result<Config, Diagnostics> {
        let Command::Proxy(proxy) = Arguments::parse_from(line.split(' ')).command else { panic!("{line}") };
        config(&proxy)
    }

    #[test]
    fn arguments_become_a_configuration() {
        let config =
            made("lbproxy proxy --listen 8080 --to a:1,b:2 --policy p2c --health /h --admin [::1]:9900").unwrap();
        assert_eq!(config.listeners[0].address, ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap()));
        let cluster = &config.clusters[0];
        let names: Vec<_> = cluster.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
        assert_eq!(
            (names, cluster.policy.kind.name(), cluster.health.active.is_some()),
            (vec!["a:1", "b:2"], "p2c", true)
        );
        assert_eq!(config.admin.unwrap().address, ListenAddress::Tcp("[::1]:9900".parse().unwrap()));
        assert_eq!(config.log.access.unwrap().to, AccessTarget::Stdout);
    }

    #[test]
    fn an_access_log_that_is_off_stays_off() {
        assert_eq!(made("lbproxy proxy --to a:1 --access-log off").unwrap().log.access, None);
    }

    #[test]
    fn every_address_that_is_none_is_named() {
        let wrong = made("lbproxy proxy --listen nowhere --to a:1,https://b/x,c").unwrap_err().to_string();
        for address in ["nowhere", "https://b/x", "`c`"] {
            assert!(wrong.contains(address), "{wrong}");
        }
        assert!(!wrong.contains("a:1"), "{wrong}");
    }
}
