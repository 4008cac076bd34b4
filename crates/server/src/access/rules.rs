//! Which names may do what with which collections: nothing but what is allowed.

use std::path::Path;

use countersign_tuf::Gun;
use serde::Deserialize;

use super::settings::{AccessError, Allowance, Reading, Right, RuleError};
use super::{Action, Needed, Who, files};

/// The name that stands for everybody, with or without a name.
pub(super) const EVERYBODY: &str = "anonymous";
/// The name that stands for everybody who has proved a name.
pub(super) const KNOWN: &str = "*";

/// What is allowed.
#[derive(Debug)]
pub(super) struct Rules(Vec<Allowance>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    allow: Vec<Allowance>,
}

impl Rules {
    /// Takes what the settings allow, and what a file does; when neither has a rule, everybody with a name may do everything.
    pub(super) fn read(allow: &[Allowance], file: Option<&Path>, reading: Reading) -> Result<Self, AccessError> {
        check(allow).map_err(AccessError::Rule)?;
        let mut all = allow.to_vec();
        match file {
            Some(file) => all.extend(read(file)?),
            None if all.is_empty() => all.push(of(KNOWN, Right::Manage)),
            None => {}
        }
        if reading == Reading::Everybody {
            all.push(of(EVERYBODY, Right::Read));
        }
        Ok(Self(all))
    }

    /// Tells whether somebody may do what a request needs.
    pub(super) fn allow(&self, who: &Who, needed: &Needed) -> bool {
        match needed {
            Needed::Nothing | Needed::Ping => true,
            Needed::Catalog => self.about(who).any(|rule| rule.right == Right::Manage && rule.collections.is_empty()),
            Needed::Collection(gun, action) => self.right(who, gun).is_some_and(|right| right.covers(*action)),
        }
    }

    /// The most that somebody may do with a collection.
    fn right(&self, who: &Who, gun: &Gun) -> Option<Right> {
        self.about(who).filter(|rule| rule.is_about(gun)).map(|rule| rule.right).max()
    }

    fn about<'a>(&'a self, who: &'a Who) -> impl Iterator<Item = &'a Allowance> {
        let name = who.name();
        self.0.iter().filter(move |rule| {
            rule.users.iter().any(|user| user == EVERYBODY || name.is_some_and(|name| user == KNOWN || user == name))
        })
    }
}

impl Allowance {
    /// Compares whole components: `a/b` is about `a/b` and `a/b/c`, `a/b/` about `a/b/c` only, and neither about `a/bc`.
    fn is_about(&self, gun: &Gun) -> bool {
        let gun = gun.as_str();
        let is = |beginning: &String| match gun.strip_prefix(beginning.as_str()) {
            Some(rest) => beginning.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        self.collections.is_empty() || self.collections.iter().any(is)
    }
}

impl Right {
    fn covers(self, action: Action) -> bool {
        match action {
            Action::Pull => true,
            Action::Push => self >= Self::Publish,
            Action::Everything => self == Self::Manage,
        }
    }
}

fn of(user: &str, right: Right) -> Allowance {
    Allowance { users: vec![user.to_owned()], collections: Vec::new(), right }
}

fn read(path: &Path) -> Result<Vec<Allowance>, AccessError> {
    let refuse = |reason: String| AccessError::Rules { path: path.to_owned(), reason };
    let text = files::read(path)?;
    let File { allow } = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    check(&allow).map_err(|error| refuse(format!("a rule {error}")))?;
    Ok(allow)
}

fn check(allow: &[Allowance]) -> Result<(), RuleError> {
    for rule in allow {
        if rule.users.is_empty() || rule.users.iter().any(String::is_empty) {
            return Err(RuleError::NoUser);
        }
        if rule.right > Right::Read && rule.users.iter().any(|user| user == EVERYBODY) {
            return Err(RuleError::AnonymousWrites);
        }
        let is_name = |name: &String| Gun::parse(name.strip_suffix('/').unwrap_or(name)).is_ok();
        if let Some(bad) = rule.collections.iter().find(|name| !is_name(name)) {
            return Err(RuleError::Collection(bad.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(users: &[&str], right: Right, collections: &[&str]) -> Allowance {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Allowance { users: own(users), right, collections: own(collections) }
    }

    fn rules(allow: &[Allowance], reading: Reading) -> Rules {
        Rules::read(allow, None, reading).unwrap()
    }

    fn who(name: Option<&str>) -> Who {
        name.map_or(Who::Anonymous, |name| Who::User(name.into()))
    }

    fn most(rules: &Rules, name: Option<&str>, gun: &str) -> Option<Action> {
        let gun = Gun::parse(gun).unwrap();
        let may = |action| rules.allow(&who(name), &Needed::Collection(gun.clone(), action));
        [Action::Everything, Action::Push, Action::Pull].into_iter().find(|action| may(*action))
    }

    #[test]
    fn prefixes_end_where_components_end_and_rights_add_up() {
        let rules = rules(
            &[
                allow(&["anonymous"], Right::Read, &["r.test/public/"]),
                allow(&["*"], Right::Read, &["r.test/"]),
                allow(&["alice"], Right::Publish, &["r.test/acme/", "r.test/one"]),
                allow(&["root"], Right::Manage, &[]),
            ],
            Reading::Allowed,
        );
        for (name, gun, expected) in [
            (None, "r.test/public/x", Some(Action::Pull)),
            (None, "r.test/public", None),
            (None, "r.test/publicity/x", None),
            (None, "r.test/acme/x", None),
            (Some("bob"), "r.test/acme/x", Some(Action::Pull)),
            (Some("bob"), "r.test.evil/acme/x", None),
            (Some("alice"), "r.test/acme/x", Some(Action::Push)),
            (Some("alice"), "r.test/acme", Some(Action::Pull)),
            (Some("alice"), "r.test/acme2/x", Some(Action::Pull)),
            (Some("alice"), "r.test/one", Some(Action::Push)),
            (Some("alice"), "r.test/one/more", Some(Action::Push)),
            (Some("alice"), "r.test/onemore", Some(Action::Pull)),
            (Some("alice"), "R.test/one", None),
            (Some("Alice"), "r.test/acme/x", Some(Action::Pull)),
            (Some("anonymous"), "r.test/acme/x", Some(Action::Pull)),
            (Some("root"), "anything", Some(Action::Everything)),
        ] {
            assert_eq!(most(&rules, name, gun), expected, "{name:?} {gun}");
        }
        let catalog = |name| rules.allow(&who(name), &Needed::Catalog);
        assert!(catalog(Some("root")) && !catalog(Some("alice")) && !catalog(None));
    }

    #[test]
    fn without_rules_everybody_with_a_name_does_everything_and_nobody_else_anything() {
        let closed = rules(&[], Reading::Allowed);
        assert_eq!(most(&closed, Some("alice"), "a"), Some(Action::Everything));
        assert_eq!(most(&closed, None, "a"), None);
        let read = rules(&[], Reading::Everybody);
        assert_eq!(most(&read, Some("alice"), "a"), Some(Action::Everything));
        assert_eq!(most(&read, None, "a"), Some(Action::Pull));
    }

    #[test]
    fn with_one_rule_whatever_it_does_not_allow_is_denied() {
        let rules = rules(&[allow(&["alice"], Right::Read, &["a"])], Reading::Allowed);
        assert_eq!(most(&rules, Some("alice"), "a"), Some(Action::Pull));
        assert_eq!((most(&rules, Some("alice"), "b"), most(&rules, Some("bob"), "a")), (None, None));
    }

    #[test]
    fn an_empty_file_of_rules_allows_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rules = Rules::read(&[], Some(file.path()), Reading::Allowed).unwrap();
        assert_eq!(most(&rules, Some("alice"), "a"), None);
    }

    #[test]
    fn a_file_of_rules_is_read_strictly() {
        let read = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs_err::write(file.path(), text).unwrap();
            Rules::read(&[], Some(file.path()), Reading::Allowed)
        };
        let good = read("[[allow]]\nusers = [\"alice\"]\ncollections = [\"a/\"]\nright = \"publish\"\n").unwrap();
        assert_eq!(most(&good, Some("alice"), "a/b"), Some(Action::Push));
        for (text, part) in [
            ("[[allow]]\nusers = [\"a\"]", "right"),
            ("[[allow]]\nusers = [\"a\"]\nright = \"write\"", "unknown variant"),
            ("[[allow]]\nuser = \"a\"\nright = \"read\"", "unknown field"),
            ("[[deny]]\nusers = [\"a\"]\nright = \"read\"", "unknown field"),
            ("[[allow]]\nusers = []\nright = \"read\"", "no user"),
            ("[[allow]]\nusers = [\"anonymous\"]\nright = \"publish\"", "without a name"),
            ("[[allow]]\nusers = [\"a\"]\ncollections = [\"a/\", \"/b\"]\nright = \"read\"", "\"/b\""),
        ] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
        assert!(matches!(
            Rules::read(&[], Some(Path::new("/nonexistent")), Reading::Allowed),
            Err(AccessError::Unreadable { .. })
        ));
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        for rule in [
            allow(&[], Right::Read, &[]),
            allow(&[""], Right::Read, &[]),
            allow(&["anonymous"], Right::Publish, &[]),
            allow(&["bob", "anonymous"], Right::Manage, &["a/"]),
            allow(&["bob"], Right::Read, &["/"]),
            allow(&["bob"], Right::Read, &[""]),
            allow(&["bob"], Right::Read, &["a/../b/"]),
            allow(&["bob"], Right::Read, &["a//"]),
        ] {
            assert!(Rules::read(std::slice::from_ref(&rule), None, Reading::Allowed).is_err(), "{rule:?}");
        }
    }
}
