//! Events as lines of the application log. Operators grep for them, so each has one place and one wording: here.

use std::fmt;

use lb_core::Axis;
use tracing::field::display;

use crate::events::{Event, Refusal, Subject, Subscriber};

/// Writes a line for each event.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventLog;

impl Subscriber for EventLog {
    fn on_event(&self, event: &Event) {
        match event {
            Event::CheckedDown { endpoint, why, .. } => endpoint_down(endpoint, why),
            Event::CheckedUp { endpoint, why, others } => endpoint_up(endpoint, why, others),
            Event::Ejected { endpoint: Subject { cluster, endpoint, resolved }, eject_for, why, .. } => {
                let resolved = resolved.as_ref().map(display);
                tracing::warn!(%cluster, resolved, "endpoint {endpoint} ejected for {eject_for:?}: {why}");
            }
            Event::Readmitted { endpoint, others } => endpoint_up(endpoint, "its ejection is over", others),
            Event::Spared { endpoint: Subject { cluster, endpoint, .. }, last } => tracing::warn!(
                "endpoint {endpoint} is failing ({last}) but not ejected: too few eligible endpoints in cluster {cluster}"
            ),
            Event::CoolingDown { endpoint: Subject { cluster, endpoint, resolved }, length, status, .. } => {
                let resolved = resolved.as_ref().map(display);
                tracing::info!(%cluster, resolved, "endpoint {endpoint} cools down for {length:?}: it answered {status}");
            }
            Event::CooledDown { endpoint, others } => endpoint_up(endpoint, "its cool-down is over", others),
            Event::Suspected { endpoint: Subject { cluster, endpoint, resolved }, silent_for, .. } => {
                let resolved = resolved.as_ref().map(display);
                tracing::warn!(
                    %cluster, resolved,
                    "endpoint {endpoint} is suspected: no answer for {silent_for:?}; it gets one request at a time"
                );
            }
            Event::Cleared { endpoint, others } => endpoint_up(endpoint, "it is no longer suspected", others),
            Event::Declared { endpoint, axis, on, others } => declared(endpoint, *axis, *on, others),
            Event::PanicBegan { cluster, eligible, all, threshold } => {
                panic_began(cluster, *eligible, *all, *threshold);
            }
            Event::PanicEnded { cluster, eligible, all } => {
                tracing::warn!("cluster {cluster} has left panic mode: {eligible} of {all} endpoints eligible");
            }
            Event::Resolved { cluster, source, addresses } => {
                tracing::info!(%cluster, "endpoint {source} resolves to {addresses}");
            }
            Event::ResolutionFailed { cluster, source, why, is_local: true, kept } => {
                tracing::warn!(%cluster, %kept, "endpoint {source} cannot be looked up: {why}");
            }
            Event::ResolutionFailed { cluster, source, why, is_local: false, kept } => {
                tracing::warn!(%cluster, %kept, "endpoint {source} does not resolve: {why}");
            }
            Event::Ordered { cluster, endpoint, order: Some(order) } => {
                tracing::info!(%cluster, "endpoint {endpoint}: an operator orders {}", order.name());
            }
            Event::Ordered { cluster, endpoint, order: None } => {
                tracing::info!(%cluster, "endpoint {endpoint}: the operator's order is revoked");
            }
            Event::Refused { listener, refusal } => refused(listener, refusal),
            Event::TlsKept { why, kept } | Event::FileKept { why, kept } => tracing::error!("{why}; {kept}"),
            Event::RootGone { why } => tracing::error!("{why}"),
            Event::PageKept { why } => tracing::error!("{why}; the page that was read before stays in force"),
            // The program that reloads says so itself.
            Event::Reloaded { .. } => {}
        }
    }
}

/// `endpoint n8n-1:5678 is down: status 500 from /healthz (3 of 3) cluster=n8n resolved=10.0.0.1:5678`
fn endpoint_down(subject: &Subject, why: impl fmt::Display) {
    let Subject { cluster, endpoint, resolved } = subject;
    tracing::warn!(%cluster, resolved = resolved.as_ref().map(display), "endpoint {endpoint} is down: {why}");
}

/// `endpoint n8n-1:5678 is up: status 200 from /healthz (2 of 2) cluster=n8n resolved=10.0.0.1:5678`; where other reasons keep it
/// from new requests, `endpoint n8n-1:5678 is not up yet (check): its ejection is over`, with the reasons as the status page names them.
fn endpoint_up(subject: &Subject, why: impl fmt::Display, others: &[Axis]) {
    let Subject { cluster, endpoint, resolved } = subject;
    let resolved = resolved.as_ref().map(display);
    if others.is_empty() {
        tracing::info!(%cluster, resolved, "endpoint {endpoint} is up: {why}");
        return;
    }
    let others: Vec<&str> = others.iter().map(|axis| axis.name()).collect();
    tracing::info!(%cluster, resolved, "endpoint {endpoint} is not up yet ({}): {why}", others.join(", "));
}

/// What the configuration or a source says about an endpoint; an operator's order has its own line.
fn declared(subject: &Subject, axis: Axis, on: bool, others: &[Axis]) {
    let (begins, is_over) = match axis {
        Axis::Drain => ("drains: by the configuration or its source", "it no longer drains"),
        Axis::WeightZero => ("gets no new requests: its weight is zero", "its weight is no longer zero"),
        Axis::NotReady => ("is not ready: its source says so", "its source says that it is ready"),
        _ => return,
    };
    if !on {
        return endpoint_up(subject, is_over, others);
    }
    let Subject { cluster, endpoint, resolved } = subject;
    tracing::info!(%cluster, resolved = resolved.as_ref().map(display), "endpoint {endpoint} {begins}");
}

/// Panic mode surprises operators: every transition is logged loudly.
fn panic_began(cluster: &str, eligible: usize, all: usize, threshold: Option<f64>) {
    match threshold {
        Some(share) => tracing::error!(
            "cluster {cluster} is in panic mode: {eligible} of {all} endpoints eligible, and fewer than {}% pass their \
             check; failing checks are ignored until more pass",
            share * 100.0
        ),
        None => tracing::error!(
            "cluster {cluster} is in panic mode: none of {all} endpoints is eligible; health is ignored until one recovers, \
             endpoints ejected by traffic are used last"
        ),
    }
}

fn refused(listener: &str, refusal: &Refusal) {
    match refusal {
        Refusal::Full { max } => {
            tracing::warn!(
                "connection limit reached (limits.connections = {max}), closing new connections listener={listener}"
            );
        }
        Refusal::Client { client, max } => {
            tracing::warn!("per-client connection limit reached client={client} listener={listener} connections={max}");
        }
        Refusal::Denied { client } => tracing::info!("connection denied client={client} listener={listener}"),
        Refusal::Unproxied { peer, why } => {
            let peer = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
            tracing::warn!("connection from {peer} closed listener={listener}: {why}");
        }
    }
}
