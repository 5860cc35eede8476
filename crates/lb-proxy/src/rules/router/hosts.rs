//! Routes by host: exact, then the longest wildcard, then any.

use std::ops::ControlFlow;

use lb_config::HostPattern;

use super::Map;

/// Something for each host pattern, and for any host.
#[derive(Debug)]
pub(super) struct Hosts<T> {
    exact: Map<Box<str>, T>,
    /// By what follows the star, its dot included.
    wildcards: Map<Box<str>, T>,
    /// Bytes of the longest key of `wildcards`: a longer tail of a host need not be looked up.
    longest: usize,
    any: T,
}

impl<T: Default> Hosts<T> {
    pub(super) fn new() -> Self {
        Self { exact: Map::default(), wildcards: Map::default(), longest: 0, any: T::default() }
    }

    /// Whether there is a pattern at all.
    pub(super) fn tells_hosts_apart(&self) -> bool {
        !self.exact.is_empty() || !self.wildcards.is_empty()
    }

    /// What belongs to a pattern; `None` is any host.
    pub(super) fn entry(&mut self, pattern: Option<&HostPattern>) -> &mut T {
        match pattern {
            None => &mut self.any,
            Some(HostPattern::Exact(host)) => self.exact.entry(Box::from(&**host)).or_default(),
            Some(HostPattern::Wildcard(tail)) => {
                self.longest = self.longest.max(tail.len());
                self.wildcards.entry(Box::from(&**tail)).or_default()
            }
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wildcards.values_mut()).chain(std::iter::once(&mut self.any))
    }

    /// Shows what belongs to the patterns that `host` matches, the most particular first. One probe, and one more for
    /// each dot of the host while there are wildcards.
    pub(super) fn visit<'a, B>(
        &'a self,
        host: &str,
        visit: &mut impl FnMut(&'a T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if let Some(exact) = self.exact.get(host) {
            visit(exact)?;
        }
        if !self.wildcards.is_empty() {
            for (dot, _) in host.match_indices('.') {
                let tail = host.get(dot..).unwrap_or_default();
                if dot > 0
                    && tail.len() <= self.longest
                    && let Some(wildcard) = self.wildcards.get(tail)
                {
                    visit(wildcard)?;
                }
            }
        }
        visit(&self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(patterns: &[&str], host: &str) -> Vec<String> {
        let mut hosts = Hosts::<String>::new();
        "any".clone_into(hosts.entry(None));
        for pattern in patterns {
            let parsed = match pattern.strip_prefix('*') {
                Some(tail) => HostPattern::Wildcard(tail.into()),
                None => HostPattern::Exact((*pattern).into()),
            };
            (*pattern).clone_into(hosts.entry(Some(&parsed)));
        }
        let mut seen = Vec::new();
        let _ = hosts.visit(host, &mut |name| {
            seen.push(name.clone());
            ControlFlow::<()>::Continue(())
        });
        seen
    }

    #[test]
    fn exact_comes_before_the_longest_wildcard_before_any() {
        let patterns = ["a.b.example.org", "*.b.example.org", "*.example.org", "*.org"];
        let all = ["a.b.example.org", "*.b.example.org", "*.example.org", "*.org", "any"];
        assert_eq!(found(&patterns, "a.b.example.org"), all);
        assert_eq!(found(&patterns, "x.y.b.example.org"), all[1..]);
        assert_eq!(found(&patterns, "b.example.org"), all[2..]);
        assert_eq!(found(&patterns, "example.org"), all[3..]);
        assert_eq!(found(&patterns, "org"), ["any"]);
        assert_eq!(found(&patterns, ""), ["any"]);
    }

    #[test]
    fn a_wildcard_stands_for_at_least_one_label() {
        assert_eq!(found(&["*.example.org"], "example.org"), ["any"]);
        assert_eq!(found(&["*.example.org"], ".example.org"), ["any"]);
        assert_eq!(found(&["*.example.org"], "xexample.org"), ["any"]);
    }
}
