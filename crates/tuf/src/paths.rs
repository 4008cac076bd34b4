//! Which names a role may sign.

/// Name prefixes that a role may sign.
///
/// A prefix is text, as in the reference; it is no folder: `a` allows `abc`. But a name with a segment `..` is allowed by
/// no prefix except the empty one, which allows everything: read as a path, it would lead out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths(Vec<Box<str>>);

impl Paths {
    /// Allows every name, as for `targets` itself.
    #[must_use]
    pub fn everything() -> Self {
        Self(vec!["".into()])
    }

    /// Tells whether a name may be signed.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        let mut prefixes = self.0.iter().filter(|prefix| name.starts_with(&***prefix));
        if climbs(name) { prefixes.any(|prefix| prefix.is_empty()) } else { prefixes.next().is_some() }
    }

    /// Keeps of a child's paths those that lie within these.
    ///
    /// Takes n log n steps: both lists can be long, and the child's is not ours.
    #[must_use]
    pub fn narrowed(&self, child: &[Box<str>]) -> Self {
        let mut sorted: Vec<&str> = self.iter().collect();
        sorted.sort_unstable();
        // Without prefixes of each other, the only one that can cover a text is the last that is not above it.
        let mut roots: Vec<&str> = Vec::new();
        for prefix in sorted {
            if roots.last().is_none_or(|last| !prefix.starts_with(last)) {
                roots.push(prefix);
            }
        }
        let covers = |path: &str| {
            let candidate = roots.partition_point(|root| *root <= path).checked_sub(1).and_then(|at| roots.get(at));
            candidate.is_some_and(|root| path.starts_with(root) && (root.is_empty() || !climbs(path)))
        };
        Self(child.iter().filter(|path| covers(path)).cloned().collect())
    }

    /// Iterates over the prefixes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

fn climbs(name: &str) -> bool {
    name.split(['/', '\\']).any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(prefixes: &[&str]) -> Paths {
        Paths::everything().narrowed(&prefixes.iter().map(|prefix| (*prefix).into()).collect::<Vec<_>>())
    }

    #[test]
    fn prefixes_are_text() {
        let some = paths(&["a/", "v1"]);
        assert!(some.allow("a/") && some.allow("a/b") && some.allow("v1.2") && some.allow("a/.../x"));
        assert!(!some.allow("") && !some.allow("a") && !some.allow("b/a/") && !some.allow("V1"));
        assert!(!paths(&[]).allow("") && !paths(&[]).allow("x"));
        assert!(paths(&[""]).allow("") && paths(&[""]).allow("x"));
    }

    #[test]
    fn names_that_climb_are_only_allowed_by_everything() {
        let some = paths(&["a/"]);
        for name in ["a/../x", "a/b/..", "a/..", "a/\\..\\x"] {
            assert!(!some.allow(name), "{name}");
            assert!(Paths::everything().allow(name), "{name}");
            assert_eq!(some.narrowed(&[name.into()]).iter().count(), 0, "{name}");
        }
    }

    #[test]
    fn a_child_keeps_what_its_parent_has() {
        let parent = paths(&["a/", "b/c"]);
        let child = parent.narrowed(&["a/x".into(), "".into(), "b".into(), "b/cd".into(), "c".into(), "a/".into()]);
        assert_eq!(child.iter().collect::<Vec<_>>(), ["a/x", "b/cd", "a/"]);
    }

    #[test]
    fn long_lists_are_narrowed_in_no_time() {
        let many: Vec<Box<str>> = (0..65_536).map(|n| format!("{n:05}/").into()).collect();
        let parent = Paths::everything().narrowed(&many);
        assert_eq!(parent.narrowed(&many).iter().count(), many.len());
    }

    proptest! {
        #[test]
        fn narrowing_keeps_exactly_what_is_allowed(
            parent in prop::collection::vec("[ab./]{0,4}", 0..6),
            child in prop::collection::vec("[ab./]{0,5}", 0..6),
        ) {
            let parent = Paths(parent.into_iter().map(Into::into).collect());
            let child: Vec<Box<str>> = child.into_iter().map(Into::into).collect();
            let expected: Vec<_> = child.iter().filter(|path| parent.allow(path)).cloned().collect();
            prop_assert_eq!(parent.narrowed(&child), Paths(expected));
        }
    }
}
