//! The proxy's log, kept for the table: lines on standard error would tear it apart.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What was logged and not yet taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    /// Keeps what is logged from now on, anywhere in the process.
    pub(crate) fn collect() -> Self {
        let events = Self::default();
        let subscriber = tracing_subscriber::registry().with(events.clone());
        // The only demo of the process sets it once; without it the table has fewer lines.
        let _ = tracing::subscriber::set_global_default(subscriber);
        events
    }

    /// Takes what came since the last time, in order.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.0);
    }
}

/// The words of an event without its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_and_fields_and_chatter_are_not() {
        let events = Events::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(events.clone()), || {
            tracing::warn!(cluster = "demo", "endpoint {} is down", 1);
            tracing::debug!("nothing");
            tracing::info!("endpoint 1 is up");
        });
        assert_eq!(events.take(), ["endpoint 1 is down", "endpoint 1 is up"]);
        assert_eq!(events.take(), [""; 0]);
    }
}
