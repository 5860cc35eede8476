//! What the errors of endpoints' services mean.
//!
//! A service names its own error type, or boxes it, so a balancer cannot match on it; and a guess costs much: an error that is
//! taken for a connection that was never made is sent again though it may have taken effect. What can be relied on is the
//! chain of causes: at its end is an [`io::Error`] of the socket, or an error of the client library that says itself in which
//! phase it failed. [`ByCause`] looks for those, and takes everything else for a connection that broke.

use std::any::Any;
use std::error::Error;
use std::io;

use lb_core::Class;

/// Says what the errors of endpoints' services mean. Closures from `&Err` to [`Class`] do.
///
/// Tell [`Class::ConnectError`] from the rest if you can: nothing was sent then, so that a retry is always safe and
/// draws on no budget. And tell apart what your own machine lacked, such as descriptors (`EMFILE`): as
/// [`Class::Cancelled`] it counts against no endpoint. [`ByCause`] does both for the usual clients.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say what the error `{Err}` means",
    note = "give a closure with a typed parameter: `.errors(|error: &MyError| Class::Reset)`",
    note = "`ByCause`, the default, needs an error that is `'static`"
)]
pub trait ClassifyError<Err> {
    /// Which class this error is of.
    fn class(&self, error: &Err) -> Class;
}

impl<F, Err> ClassifyError<Err> for F
where
    F: Fn(&Err) -> Class,
{
    fn class(&self, error: &Err) -> Class {
        self(error)
    }
}

/// Classifies errors by their chain of causes; the default everywhere.
///
/// | cause | class |
/// |---|---|
/// | [`io::ErrorKind::ConnectionRefused`], a connect error of hyper-util or reqwest | [`Class::ConnectError`]: nothing was sent |
/// | no descriptors left in this process or system (`EMFILE`, `ENFILE`) | [`Class::Cancelled`]: no fault of the endpoint |
/// | [`io::ErrorKind::TimedOut`], an elapsed timer of tokio, a timeout of reqwest | [`Class::Timeout`] |
/// | a gRPC status of tonic | the HTTP status of the same meaning |
/// | anything else | [`Class::Reset`] |
///
/// It sees the chain of boxed errors (tower's `BoxError`), of [`io::Error`], and of the clients whose features are enabled; other types have no
/// chain that it could follow, and count as [`Class::Reset`]. For those give a closure instead:
/// `.errors(|error: &MyError| …)`.
///
/// An endpoint's service that makes several calls of its own must not report a refused connection of a later one as its
/// error, or it is called again although the earlier ones took effect.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByCause;

impl<Err: 'static> ClassifyError<Err> for ByCause {
    fn class(&self, error: &Err) -> Class {
        let error: &dyn Any = error;
        if let Some(class) = error.downcast_ref::<Class>() {
            return *class;
        }
        chain_of(error).map_or(Class::Reset, class_of)
    }
}

/// The class of this error, by the first of its causes that has one.
pub(crate) fn class_of(error: &(dyn Error + 'static)) -> Class {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(class) = known(error) {
            return class;
        }
        cause = error.source();
    }
    Class::Reset
}

/// This value as the error that it is, if it is one of those that we know.
pub(crate) fn chain_of(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    if let Some(boxed) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(&**boxed);
    }
    if let Some(boxed) = error.downcast_ref::<Box<dyn Error>>() {
        return Some(&**boxed);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error);
    }
    #[cfg(feature = "hyper-util")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return Some(error);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(error);
    }
    #[cfg(feature = "tonic")]
    if let Some(error) = error.downcast_ref::<tonic::transport::Error>() {
        return Some(error);
    }
    #[cfg(feature = "tonic")]
    if let Some(error) = error.downcast_ref::<tonic::Status>() {
        return Some(error);
    }
    None
}

fn known(error: &(dyn Error + 'static)) -> Option<Class> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error);
    }
    if error.is::<tokio::time::error::Elapsed>() {
        return Some(Class::Timeout);
    }
    #[cfg(feature = "hyper-util")]
    if error
        .downcast_ref::<hyper_util::client::legacy::Error>()
        .is_some_and(hyper_util::client::legacy::Error::is_connect)
    {
        return Some(local_shortage(error).unwrap_or(Class::ConnectError));
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        if error.is_connect() {
            return Some(local_shortage(error).unwrap_or(Class::ConnectError));
        }
        return error.is_timeout().then_some(Class::Timeout);
    }
    #[cfg(feature = "tonic")]
    if let Some(status) = error.downcast_ref::<tonic::Status>() {
        return Some(Class::Status(lb_core::grpc::http_status_of(status.code() as u8)));
    }
    None
}

fn of_io(error: &io::Error) -> Option<Class> {
    if is_local_shortage(error) {
        return Some(Class::Cancelled);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Class::ConnectError),
        io::ErrorKind::TimedOut => Some(Class::Timeout),
        // It may only wrap the error that matters.
        io::ErrorKind::Other => None,
        _ => Some(Class::Reset),
    }
}

/// A connection could not be made for want of something on this side.
#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
fn local_shortage(error: &(dyn Error + 'static)) -> Option<Class> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(is_local_shortage) {
            return Some(Class::Cancelled);
        }
        cause = error.source();
    }
    None
}

fn is_local_shortage(error: &io::Error) -> bool {
    // ENFILE and EMFILE, the same numbers on every Unix.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] io::Error);

    fn class(error: impl Error + Send + Sync + 'static) -> Class {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(error);
        ByCause.class(&boxed)
    }

    #[test]
    fn the_cause_decides_however_it_is_wrapped() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, Class::ConnectError),
            (io::ErrorKind::TimedOut, Class::Timeout),
            (io::ErrorKind::ConnectionReset, Class::Reset),
            (io::ErrorKind::UnexpectedEof, Class::Reset),
        ] {
            assert_eq!(ByCause.class(&io::Error::from(kind)), expected);
            assert_eq!(class(Wrapped(kind.into())), expected);
            assert_eq!(class(Wrapped(io::Error::other(Wrapped(kind.into())))), expected, "{kind:?} twice");
        }
        assert_eq!(class(Wrapped(io::Error::from_raw_os_error(24))), Class::Cancelled, "EMFILE");
    }

    #[test]
    fn what_is_not_known_may_have_been_sent() {
        assert_eq!(ByCause.class(&"text"), Class::Reset);
        assert_eq!(class(std::fmt::Error), Class::Reset);
        assert_eq!(ByCause.class(&Class::ConnectError), Class::ConnectError, "a class is itself");
    }
}
