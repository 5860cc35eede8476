//! Prefixes by whole segments, as a trie of segments.
//!
//! A sorted list or one map probe for each cut of the path would cost a hostile path of four thousand slashes four
//! thousand probes. A trie follows the path from the left and stops at the first segment that no prefix has, so a
//! lookup costs one small hash for each segment of the longest prefix that matches, and one more, however long the
//! path is and however many prefixes there are.

use std::ops::ControlFlow;

use super::{Map, Ranked};

/// All prefixes of one host.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// The first is the root, the empty prefix; no child comes before its parent.
    nodes: Vec<Segment>,
}

#[derive(Debug, Default)]
struct Segment {
    children: Map<Box<str>, usize>,
    parent: Option<usize>,
    routes: Ranked,
}

impl Prefixes {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Segment::default()] }
    }

    /// The routes of a prefix, to add one. A trailing slash does not count.
    pub(super) fn entry(&mut self, prefix: &str) -> &mut Ranked {
        let mut at = 0;
        for segment in segments(prefix.strip_suffix('/').unwrap_or(prefix)) {
            let next = self.nodes.len();
            let child = *self.nodes[at].children.entry(Box::from(segment)).or_insert(next);
            if child == next {
                self.nodes.push(Segment { parent: Some(at), ..Segment::default() });
            }
            at = child;
        }
        &mut self.nodes[at].routes
    }

    pub(super) fn lists(&mut self) -> impl Iterator<Item = &mut Ranked> {
        self.nodes.iter_mut().map(|node| &mut node.routes)
    }

    /// Shows the routes of every prefix that `path` begins with, the longest first.
    pub(super) fn visit<B>(&self, path: &str, visit: &mut impl FnMut(&[usize]) -> ControlFlow<B>) -> ControlFlow<B> {
        let mut deepest = 0;
        for segment in segments(path) {
            let Some(&child) = self.nodes.get(deepest).and_then(|node| node.children.get(segment)) else { break };
            deepest = child;
        }
        let mut next = self.nodes.get(deepest);
        while let Some(node) = next {
            if !node.routes.is_empty() {
                visit(&node.routes)?;
            }
            next = node.parent.and_then(|parent| self.nodes.get(parent));
        }
        ControlFlow::Continue(())
    }
}

/// The segments of an absolute path; none of `""` and of `*`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prefixes: &[&str], path: &str) -> Vec<usize> {
        let mut trie = Prefixes::new();
        for (at, prefix) in prefixes.iter().enumerate() {
            trie.entry(prefix).push(at);
        }
        let mut seen = Vec::new();
        let _ = trie.visit(path, &mut |routes| {
            seen.extend_from_slice(routes);
            ControlFlow::<()>::Continue(())
        });
        seen
    }

    #[test]
    fn the_longest_prefix_comes_first_and_only_whole_segments_match() {
        let prefixes = ["", "/api", "/api/v1/users", "/apix"];
        assert_eq!(found(&prefixes, "/api/v1/users/7"), [2, 1, 0]);
        assert_eq!(found(&prefixes, "/api/v1"), [1, 0]);
        assert_eq!(found(&prefixes, "/api"), [1, 0]);
        assert_eq!(found(&prefixes, "/api/"), [1, 0]);
        assert_eq!(found(&prefixes, "/apix"), [3, 0]);
        assert_eq!(found(&prefixes, "/apiy"), [0]);
        assert_eq!(found(&prefixes, "*"), [0]);
        assert_eq!(found(&[], "/api"), [] as [usize; 0]);
    }

    #[test]
    fn a_trailing_slash_of_a_prefix_does_not_count() {
        assert_eq!(found(&["/api/"], "/api"), [0]);
        assert_eq!(found(&["/"], "/"), [0]);
    }
}
