//! How large a head may be.

/// Limits on one head. Each bounds what a stranger can make us hold or scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head with the empty line at its end. Default 32 KiB: four times what browsers send at most.
    /// Values above 16 MiB count as 16 MiB.
    pub bytes: usize,
    /// Number of headers. Default 100, as in nginx, HAProxy (101) and hyper.
    pub headers: usize,
    /// Bytes of the request target. Default 8 KiB, as in nginx. Unused for responses.
    pub uri: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 32 * 1024, headers: 100, uri: 8 * 1024 }
    }
}

impl HeadLimits {
    /// The default limits for what upstreams answer: 128 KiB and 500 headers. An endpoint is not hostile, but it may be
    /// broken.
    #[must_use]
    pub const fn response() -> Self {
        Self { bytes: 128 * 1024, headers: 500, uri: 0 }
    }

    pub(crate) fn head_bytes(&self) -> usize {
        // Positions in a head are kept in 32 bits, names' lengths in 16 (checked where names are read).
        self.bytes.min(16 << 20)
    }
}
