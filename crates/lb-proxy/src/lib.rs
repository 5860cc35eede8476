//! The HTTP engine of lbproxy: listeners, routes, upstream connections, forwarding.
