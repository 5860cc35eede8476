//! A valid configuration as a document again: every key with the value in force, ready to be printed or compared.
//!
//! What may be secret is marked: a signing secret is never in a document, only a mark that tells whether it changed, and
//! free text that the environment filled appears as it was written, `${NAME}` and all.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::language::env;
use crate::language::source::Sources;
use crate::language::template::Template;
use crate::language::values::http::{PathPattern, ValuePattern};
use crate::language::values::{quantity, status};
use crate::table::item::{
    Fields, Item, Leaf, Writer, bare, conditions, duration, duration_or, fields, or, quote, size_or_none, text, texts,
};
use crate::valid::{
    AccessFormat, AccessTarget, Action, ActiveCheck, CertificateFiles, Cluster, ClusterTls, Config, Endpoint,
    Forwarded, HeaderEdits, KeepAlive, Level, LimitKey, Limits, Listener, ListenerTls, LocalZone, Log, LogFormat,
    Match, PassiveHealth, Probe, ProxyProtocol, Queue, RateLimit, Redirect, RedirectTo, Respond, Retry, Route,
    SameSite, Sticky, Subset, SubsetBy, Timeouts, TlsVersion, Upgrade,
};

/// A whole configuration.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) root: Fields,
    pub(crate) listeners: Vec<(String, Fields)>,
    pub(crate) routes: Vec<(String, Fields)>,
    pub(crate) clusters: Vec<(String, Fields)>,
}

impl Document {
    pub(crate) fn of(config: &Config, sources: &Sources) -> Self {
        let writer = Writer::new(sources);
        Self {
            root: writer.root(config),
            listeners: config
                .listeners
                .iter()
                .map(|listener| (listener.name.to_string(), writer.listener(listener)))
                .collect(),
            routes: config.routes.iter().map(|route| (route.name.to_string(), writer.route(config, route))).collect(),
            clusters: config
                .clusters
                .iter()
                .map(|cluster| (cluster.name.to_string(), writer.cluster(cluster)))
                .collect(),
        }
    }
}

impl Writer<'_> {
    fn root(&self, config: &Config) -> Fields {
        let admin = config.admin.as_ref();
        let address = admin.map_or_else(|| "off".to_owned(), |admin| admin.address.to_string());
        let allow = admin.map(|admin| admin.allow.as_slice()).unwrap_or_default();
        fields! {
            "workers": or("auto", config.workers),
            "grace": duration(config.grace),
            "admin": Item::Table(fields! {
                "address": text(&address),
                "allow": texts(allow.iter().map(ToString::to_string)),
                "hosts": texts(admin.map(|admin| admin.hosts.as_slice()).unwrap_or_default().iter().map(ToString::to_string)),
            }),
            "zone": config.zone.as_ref().map_or_else(|| text("none"), zone),
            "log": Item::Table(log(&config.log)),
            "limits": Item::Table(limits(&config.limits)),
        }
    }

    fn route(&self, config: &Config, route: &Route) -> Fields {
        let mut all = fields! { "name": text(&route.name) };
        all.extend(self.matcher(config, &route.matcher));
        all.push(self.action(config, &route.action));
        let options = &route.options;
        if let Some(policy) = &options.policy {
            all.push(("policy".into(), policy.show(self)));
        }
        let off = || text("off");
        // The others forward nothing and have no use for these.
        if let Action::Cluster(_) = route.action {
            all.extend(fields! {
                "timeout": timeout(&options.timeout),
                "retry": options.retry.as_ref().map_or_else(off, retry),
                "sticky": options.sticky.as_ref().map_or_else(off, sticky),
                "forwarded": forwarded(options.forwarded),
                "upgrade": match &options.upgrade {
                    Upgrade::Any => text("any"),
                    Upgrade::Off => text("off"),
                    Upgrade::Only(protocols) => texts(protocols),
                },
            });
        }
        all.extend(fields! {
            "rate_limit": options.rate_limit.as_ref().map_or_else(off, |limit| self.rate_limit(limit)),
            "headers": Item::Table(fields! {
                "request": self.edits(&options.request_headers),
                "response": self.edits(&options.response_headers),
            }),
            "body_limit": size_or_none(options.body_limit),
            "access_log": text(if options.access_log { "on" } else { "off" }),
        });
        all
    }

    fn matcher(&self, config: &Config, matcher: &Match) -> Fields {
        let hosts = matcher.hosts.iter().map(ToString::to_string);
        let path = match &matcher.path {
            PathPattern::Prefix(path) if path.is_empty() => "/".to_owned(),
            PathPattern::Prefix(path) => path.to_string(),
            PathPattern::Exact(path) => format!("={path}"),
            PathPattern::Regex(regex) => format!("~{regex}"),
        };
        let headers = matcher.headers.iter().map(|(name, value)| {
            let value = match value {
                ValuePattern::Exact(value) => value.to_string(),
                ValuePattern::Regex(regex) => format!("~{regex}"),
            };
            (name.to_string(), self.free(&value))
        });
        let listeners = matcher.listeners.iter().filter_map(|at| config.listeners.get(*at));
        fields! {
            "hosts": texts(hosts),
            "path": text(&path),
            "methods": texts(&matcher.methods),
            "headers_match": Item::Table(headers.collect()),
            "listeners": texts(listeners.map(|listener| &listener.name)),
        }
    }

    fn action(&self, config: &Config, action: &Action) -> (String, Item) {
        match action {
            Action::Cluster(at) => {
                ("cluster".into(), text(config.clusters.get(*at).map_or("", |cluster| &cluster.name)))
            }
            Action::Redirect(redirect) => ("redirect".into(), self.redirect(redirect)),
            Action::Respond(respond) => ("respond".into(), self.respond(respond)),
        }
    }

    fn redirect(&self, redirect: &Redirect) -> Item {
        let to = match &redirect.to {
            RedirectTo::Https => text("https"),
            RedirectTo::Path(path) => self.free(path),
            RedirectTo::Template(template) => self.template(template),
        };
        Item::Table(fields! { "to": to, "status": bare(redirect.status) })
    }

    fn respond(&self, respond: &Respond) -> Item {
        let headers = respond.headers.iter().map(|(name, value)| (name.to_string(), self.template(value)));
        Item::Table(fields! {
            "status": bare(respond.status),
            "body": self.template(&respond.body),
            "content_type": self.free(&respond.content_type),
            "headers": Item::Table(headers.collect()),
        })
    }

    fn rate_limit(&self, limit: &RateLimit) -> Item {
        let key = match &limit.key {
            LimitKey::ClientIp => text("client_ip"),
            LimitKey::Template(template) => self.template(template),
        };
        Item::Table(fields! {
            "key": key,
            "rate": text(&quantity::show_rate(limit.requests, limit.period)),
            "burst": bare(limit.burst),
            "status": bare(limit.status),
            "name": text(&limit.name),
            "memory": text(&quantity::show_size(limit.memory_bytes)),
        })
    }

    fn listener(&self, listener: &Listener) -> Fields {
        fields! {
            "name": text(&listener.name),
            "address": text(&listener.address.to_string()),
            "redirect": text(if listener.redirect_https { "https" } else { "off" }),
            "trusted_proxies": texts(listener.trusted_proxies.iter().map(ToString::to_string)),
            "proxy_protocol": listener.proxy_protocol.as_ref().map_or_else(
                || bare(false),
                |networks| texts(networks.iter().map(ToString::to_string)),
            ),
            "backlog": or("auto", listener.backlog),
            "mode": text(&listener.mode.map_or_else(|| "umask".to_owned(), |mode| format!("{mode:04o}"))),
            "tls": listener.tls.as_ref().map_or_else(|| text("off"), listener_tls),
            "headers": Item::Table(fields! { "response": self.edits(&listener.response_headers) }),
        }
    }

    fn edits(&self, edits: &HeaderEdits) -> Item {
        let set = edits.set.iter().map(|(name, value)| (name.to_string(), self.template(value)));
        Item::Table(fields! {
            "remove": texts(&edits.remove),
            "set": Item::Table(set.collect()),
            "add": Item::Table(self.added(&edits.add)),
        })
    }

    /// One entry a name, with a list where there are several values.
    fn added(&self, add: &[(Arc<str>, Template)]) -> Fields {
        let mut all: Vec<(String, Vec<Leaf>)> = Vec::new();
        for (name, value) in add {
            let Item::Leaf(leaf) = self.template(value) else { continue };
            match all.iter_mut().find(|(known, _)| known == &**name) {
                Some((_, leaves)) => leaves.push(leaf),
                None => all.push((name.to_string(), vec![leaf])),
            }
        }
        all.into_iter()
            .map(|(name, leaves)| {
                let toml: Vec<&str> = leaves.iter().map(|leaf| leaf.toml.as_str()).collect();
                let value: Vec<&str> = leaves.iter().map(|leaf| leaf.value.as_str()).collect();
                (
                    name,
                    Item::Leaf(Leaf { toml: format!("[{}]", toml.join(", ")), value: value.join("\n"), quiet: true }),
                )
            })
            .collect()
    }

    fn cluster(&self, cluster: &Cluster) -> Fields {
        let off = || text("off");
        let endpoints = cluster.endpoints.iter().map(|endpoint| (endpoint.name.to_string(), self::endpoint(endpoint)));
        fields! {
            "policy": cluster.policy.show(self),
            "endpoints": Item::Endpoints(endpoints.collect()),
            "protocol": text(if cluster.http2 { "h2" } else { "http1" }),
            "tls": cluster.tls.as_ref().map_or_else(off, cluster_tls),
            "proxy_protocol": text(match cluster.proxy_protocol {
                None => "off",
                Some(ProxyProtocol::V1) => "v1",
                Some(ProxyProtocol::V2) => "v2",
            }),
            "dns_interval": duration(cluster.dns_interval),
            "keep_alive": keep_alive(&cluster.keep_alive),
            "queue": queue(cluster.queue),
            "slow_start": duration_or("off", cluster.slow_start),
            "panic_threshold": cluster.panic_threshold.map_or_else(off, |share| text(&quantity::show_share(share))),
            "spill": text(&cluster.spill.map_or_else(|| "exhausted".to_owned(), quantity::show_share)),
            "subset": cluster.subset.as_ref().map_or_else(off, subset),
            "health": Item::Table(fields! {
                "active": cluster.active.as_ref().map_or_else(off, |active| self.active(active)),
                "passive": cluster.passive.as_ref().map_or_else(off, passive),
            }),
        }
    }

    fn active(&self, active: &ActiveCheck) -> Item {
        let mut all = Vec::new();
        match &active.probe {
            Probe::Tcp => all.extend(fields! { "tcp": bare(true) }),
            Probe::Http { path, method, host, expect } => {
                all.extend(fields! { "path": self.free(path), "method": text(method) });
                all.extend(host.iter().map(|host| ("host".to_owned(), self.free(host))));
                all.extend(fields! { "expect": texts(expect.iter().map(|range| status::show_range(*range))) });
            }
        }
        all.extend(active.port.map(|port| ("port".to_owned(), bare(port))));
        all.extend(fields! {
            "interval": duration(active.interval),
            "timeout": duration(active.timeout),
            "rise": bare(active.rise),
            "fall": bare(active.fall),
            "initial": text(if active.initial_up { "up" } else { "down" }),
        });
        Item::Table(all)
    }
}

fn log(log: &Log) -> Fields {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let access = log.access.as_ref().map_or_else(
        || text("off"),
        |access| {
            let format = match access.format {
                AccessFormat::Standard => "standard",
                AccessFormat::Combined => "combined",
                AccessFormat::Json => "json",
            };
            let to = match &access.to {
                AccessTarget::Stdout => "stdout".to_owned(),
                AccessTarget::File(path) => path.display().to_string(),
            };
            Item::Table(fields! { "format": text(format), "to": text(&to) })
        },
    );
    fields! { "level": text(level), "format": text(format), "access": access }
}

fn limits(limits: &Limits) -> Fields {
    fields! {
        "request_head": text(&quantity::show_size(limits.request_head_bytes as u64)),
        "headers": bare(limits.headers),
        "uri": text(&quantity::show_size(limits.uri_bytes as u64)),
        "request_body": size_or_none(limits.request_body_bytes),
        "response_head": text(&quantity::show_size(limits.response_head_bytes as u64)),
        "response_headers": bare(limits.response_headers),
        "connections": or("auto", limits.connections),
        "endpoint_connections": or("auto", limits.endpoint_connections),
        "connections_per_client": or("none", limits.connections_per_client),
        "head_timeout": duration(limits.head_timeout),
        "idle_timeout": duration(limits.idle_timeout),
    }
}

fn listener_tls(tls: &ListenerTls) -> Item {
    let certificates: Vec<String> = tls.certificates.iter().map(certificate).collect();
    let certificates = format!("[{}]", certificates.join(", "));
    let names = tls.cipher_suites.iter().map(|suite| suite.name().to_owned());
    Item::Table(fields! {
        "certificates": Item::Leaf(Leaf { toml: certificates.clone(), value: certificates, quiet: false }),
        "min_version": text(match tls.min_version {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        }),
        "cipher_suites": if tls.cipher_suites.is_empty() { text("default") } else { texts(names) },
        "alpn": texts(tls.alpn.iter().map(|alpn| alpn.as_str().to_owned())),
        "client_auth": tls.client_auth.as_ref().map_or_else(|| text("off"), |auth| Item::Table(fields! {
            "ca": text(&auth.ca.display().to_string()),
            "mode": text(if auth.required { "required" } else { "optional" }),
        })),
    })
}

fn cluster_tls(tls: &ClusterTls) -> Item {
    let path = |path: &std::path::Path| text(&path.display().to_string());
    let mut all = Vec::new();
    all.extend(tls.ca.iter().map(|ca| ("ca".to_owned(), path(ca))));
    all.extend(tls.server_name.iter().map(|name| ("server_name".to_owned(), text(name))));
    all.extend(tls.client.iter().flat_map(|files| {
        [("client_cert".to_owned(), path(&files.cert)), ("client_key".to_owned(), path(&files.key))]
    }));
    all.push(("verify".into(), bare(tls.verify)));
    Item::Table(all)
}

/// The files of a certificate as an inline table.
fn certificate(files: &CertificateFiles) -> String {
    let quoted = |path: &std::path::Path| quote(&env::escape(&path.display().to_string()));
    if files.cert == files.key {
        format!("{{ pem = {} }}", quoted(&files.cert))
    } else {
        format!("{{ cert = {}, key = {} }}", quoted(&files.cert), quoted(&files.key))
    }
}

fn zone(zone: &LocalZone) -> Item {
    let proxies = zone.proxies.iter().map(|(name, count)| (name.to_string(), bare(count)));
    Item::Table(fields! {
        "name": text(&zone.name),
        "proxies": Item::Table(proxies.collect()),
        "minimum": bare(zone.minimum),
    })
}

fn subset(subset: &Subset) -> Item {
    let mut all = fields! { "size": bare(subset.size) };
    all.push(match &subset.by {
        SubsetBy::Name(name) => ("client".into(), text(name)),
        SubsetBy::Number(number) => ("number".into(), bare(number)),
    });
    Item::Table(all)
}

fn timeout(timeout: &Timeouts) -> Item {
    Item::Table(fields! {
        "connect": duration(timeout.connect),
        "response": duration(timeout.response),
        "idle": duration(timeout.idle),
        "total": duration_or("none", timeout.total),
        "tunnel": duration(timeout.tunnel),
    })
}

fn retry(retry: &Retry) -> Item {
    Item::Table(fields! {
        "on": conditions(&retry.on),
        "attempts": bare(retry.attempts),
        "for": duration_or("none", retry.within),
        "interval": duration(retry.interval),
        "budget": text(&quantity::show_share(retry.budget_ratio)),
        "unsafe_methods": bare(retry.unsafe_methods),
        "body_limit": text(&quantity::show_size(retry.body_limit)),
    })
}

fn sticky(sticky: &Sticky) -> Item {
    let mut all = fields! {
        "cookie": text(&sticky.cookie),
        "secure": bare(sticky.secure),
        "http_only": bare(sticky.http_only),
    };
    let same_site = sticky.same_site.map(|site| match site {
        SameSite::Strict => "strict",
        SameSite::Lax => "lax",
        SameSite::None => "none",
    });
    all.extend(same_site.map(|site| ("same_site".to_owned(), text(site))));
    all.push(("path".into(), text(&sticky.path)));
    all.extend(sticky.domain.iter().map(|domain| ("domain".to_owned(), text(domain))));
    all.push(("max_age".into(), duration_or("session", sticky.max_age)));
    if !sticky.secrets.is_empty() {
        let toml = format!("[{}]", vec!["\"***\""; sticky.secrets.len()].join(", "));
        // A mark to compare by, within one process, from which no secret can be had.
        let mut hasher = DefaultHasher::new();
        sticky.secrets.hash(&mut hasher);
        let value = format!("{:x}", hasher.finish());
        all.push(("secret".into(), Item::Leaf(Leaf { toml, value, quiet: true })));
    }
    Item::Table(all)
}

fn forwarded(forwarded: Forwarded) -> Item {
    let headers = match (forwarded.x_forwarded, forwarded.rfc7239) {
        (true, false) => "x-forwarded",
        (false, true) => "rfc7239",
        (true, true) => "both",
        (false, false) => "off",
    };
    let host = if forwarded.preserve_host { "preserve" } else { "endpoint" };
    Item::Table(fields! { "headers": text(headers), "host": text(host) })
}

fn endpoint(endpoint: &Endpoint) -> Fields {
    let mut all = fields! {
        "address": text(&endpoint.name),
        "weight": bare(endpoint.weight),
        "max_in_flight": or("none", endpoint.max_in_flight),
        "backup": bare(endpoint.backup),
    };
    if !endpoint.backup {
        all.push(("priority".into(), bare(endpoint.priority)));
    }
    all.extend(fields! {
        "zone": text(endpoint.zone.as_deref().unwrap_or("none")),
        "drain": bare(endpoint.drain),
    });
    all
}

fn keep_alive(keep_alive: &KeepAlive) -> Item {
    Item::Table(fields! {
        "idle": bare(keep_alive.idle),
        "timeout": duration(keep_alive.timeout),
        "requests": bare(keep_alive.requests),
        "age": duration(keep_alive.age),
    })
}

fn queue(queue: Queue) -> Item {
    Item::Table(fields! {
        "size": bare(queue.size),
        "timeout": duration(queue.timeout),
    })
}

fn passive(passive: &PassiveHealth) -> Item {
    Item::Table(fields! {
        "failures": bare(passive.failures),
        "window": duration(passive.window),
        "eject_for": duration(passive.eject_for),
        "on": conditions(&passive.on),
    })
}
