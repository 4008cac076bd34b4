//! Passwords as `htpasswd -B` writes them.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use super::super::files;
use super::super::rules::{EVERYBODY, KNOWN};
use super::super::settings::AccessError;

/// Costs of bcrypt that are taken: below them it is guessed too quickly, above them it takes seconds.
const COSTS: RangeInclusive<u32> = 4..=14;
/// Most users of one file.
const MAX_USERS: usize = 10_000;
/// Longest name, in bytes.
pub(super) const MAX_NAME: usize = 255;
/// What of a password bcrypt looks at, in bytes; a longer one is no password.
pub(super) const MAX_PASSWORD: usize = 72;

/// The hashes by user.
pub(super) struct Passwords {
    users: HashMap<String, Hashed>,
    /// The greatest cost of all.
    costliest: u32,
}

/// One user's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) text: String,
    cost: u32,
}

/// What a password is compared with: away from the threads that answer requests, because it takes long, on purpose.
#[derive(Debug)]
pub(super) struct Comparison {
    hashed: Option<Hashed>,
    costliest: u32,
}

impl Passwords {
    pub(super) fn read(path: &Path) -> Result<Self, AccessError> {
        let refuse = |line: usize, reason| AccessError::Passwords { path: path.to_owned(), line, reason };
        let (mut users, mut costliest) = (HashMap::new(), *COSTS.start());
        for (number, line) in (1..).zip(files::read(path)?.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').ok_or_else(|| refuse(number, "it is not NAME:HASH"))?;
            if !is_name(name) {
                return Err(refuse(number, "this is no name for a user"));
            }
            let cost = cost(hash).map_err(|reason| refuse(number, reason))?;
            costliest = costliest.max(cost);
            if users.insert(name.to_owned(), Hashed { text: hash.to_owned(), cost }).is_some() {
                return Err(refuse(number, "this user is there twice"));
            }
            if users.len() > MAX_USERS {
                return Err(refuse(number, "these are more than 10000 users"));
            }
        }
        if users.is_empty() {
            return Err(refuse(0, "there is no user in it"));
        }
        Ok(Self { users, costliest })
    }

    pub(super) fn comparison(&self, name: &str) -> Comparison {
        Comparison { hashed: self.users.get(name).cloned(), costliest: self.costliest }
    }
}

/// Tells whether somebody can be called this.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    is_word && name != EVERYBODY && name != KNOWN
}

impl Comparison {
    /// Returns the hash; none for somebody who does not exist.
    pub(super) fn hash(&self) -> Option<&str> {
        self.hashed.as_ref().map(|hashed| hashed.text.as_str())
    }

    /// Tells whether this is the user's password. A wrong one takes as long as one for the costliest hash does, whatever the
    /// user's own costs and whether or not there is such a user: how long it takes tells nothing about names.
    pub(super) fn matches(&self, password: &str) -> bool {
        let Some(Hashed { text, cost }) = &self.hashed else {
            spend(password, self.costliest);
            return false;
        };
        if bcrypt::verify(password, text).unwrap_or(false) {
            return true;
        }
        missing(*cost, self.costliest).for_each(|cost| spend(password, cost));
        false
    }
}

/// Returns the costs that make up the difference: each stands for twice the work of the one before.
fn missing(cost: u32, costliest: u32) -> Range<u32> {
    cost..costliest
}

/// Takes as long as comparing a password with a hash of this cost.
fn spend(password: &str, cost: u32) {
    let _ = std::hint::black_box(bcrypt::hash_with_salt(password, cost, [7; 16]));
}

fn is_number(digits: &str) -> bool {
    digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads the cost of a bcrypt hash: `$2y$NN$` and 53 letters.
fn cost(hash: &str) -> Result<u32, &'static str> {
    const OTHER: &str = "this is no bcrypt hash, and no other kind is taken: `htpasswd -B` makes one";
    let versions = ["$2a$", "$2b$", "$2y$"];
    let rest = versions.iter().find_map(|version| hash.strip_prefix(version)).ok_or(OTHER)?;
    let (digits, _) = rest.split_once('$').filter(|(digits, _)| is_number(digits)).ok_or(OTHER)?;
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| OTHER)?;
    if digits.parse() != Ok(parts.get_cost()) || !COSTS.contains(&parts.get_cost()) {
        return Err("the cost of this hash is not one of 4 to 14: `htpasswd -B -C 10` makes one of 10");
    }
    Ok(parts.get_cost())
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Passwords, AccessError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        Passwords::read(file.path())
    }

    /// What the C library makes of `wonderland`, as `htpasswd -B` does.
    const ALICE: &str = "$2y$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW";

    fn matches(passwords: &Passwords, name: &str, password: &str) -> bool {
        passwords.comparison(name).matches(password)
    }

    #[test]
    fn a_password_opens_its_own_user_only() {
        let carol = bcrypt::hash_with_salt("teapot", 4, [3; 16]).unwrap();
        let text = format!("# people\n\nalice:{ALICE}\r\nbob:{}\ncarol:{carol}\n", ALICE.replace("$2y$", "$2b$"));
        let passwords = read(&text).unwrap();
        for (name, password, right) in [
            ("alice", "wonderland", true),
            ("bob", "wonderland", true),
            ("carol", "teapot", true),
            ("carol", "wonderland", false),
            ("alice", "Wonderland", false),
            ("alice", "wonderland ", false),
            ("alice", "", false),
            ("Alice", "wonderland", false),
            ("dave", "wonderland", false),
            ("", "", false),
        ] {
            assert_eq!(matches(&passwords, name, password), right, "{name} {password:?}");
        }
    }

    #[test]
    fn other_hashes_and_unreasonable_costs_are_refused_by_line() {
        for (line, part) in [
            ("alice:plain".to_owned(), "htpasswd -B"),
            ("alice:".to_owned(), "htpasswd -B"),
            ("alice:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy".to_owned(), "htpasswd -B"),
            ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(), "htpasswd -B"),
            ("alice:$6$salt$hash".to_owned(), "htpasswd -B"),
            (format!("alice:{}", ALICE.replace("$2y$", "$2x$")), "htpasswd -B"),
            (format!("alice:{ALICE}x"), "htpasswd -B"),
            (format!("alice:{}", ALICE.replace("$05$", "$5$")), "htpasswd -B"),
            (format!("alice:{}", ALICE.replace("$05$", "$+5$")), "htpasswd -B"),
            (format!("alice:{}", ALICE.replace("$05$", "$03$")), "cost"),
            (format!("alice:{}", ALICE.replace("$05$", "$15$")), "cost"),
            ("alice".to_owned(), "NAME:HASH"),
            (format!(":{ALICE}"), "no name"),
            (format!("*:{ALICE}"), "no name"),
            (format!("anonymous:{ALICE}"), "no name"),
            (format!("a\tb:{ALICE}"), "no name"),
            (format!("ok:{ALICE}"), "twice"),
        ] {
            let refused = read(&format!("ok:{ALICE}\n{line}")).unwrap_err();
            assert!(matches!(refused, AccessError::Passwords { line: 2, .. }), "{line}: {refused}");
            assert!(refused.to_string().contains(part), "{line}: {refused}");
        }
        assert!(matches!(read("# nobody\n"), Err(AccessError::Passwords { line: 0, .. })));
    }

    #[test]
    fn a_wrong_password_takes_as_long_for_a_cheap_hash_and_for_nobody_as_for_the_costliest() {
        let work = |cost: u32| 1_u64 << cost;
        for cost in COSTS {
            for costliest in cost..=*COSTS.end() {
                let whole = work(cost) + missing(cost, costliest).map(work).sum::<u64>();
                assert_eq!(whole, work(costliest), "{cost} {costliest}");
            }
        }
        let hash = |cost| bcrypt::hash_with_salt("right", cost, [3; 16]).unwrap();
        let passwords = read(&format!("cheap:{}\ndear:{}\n", hash(4), hash(6))).unwrap();
        for name in ["cheap", "dear", "nobody"] {
            assert_eq!(passwords.comparison(name).costliest, 6);
            assert!(!matches(&passwords, name, "wrong"));
        }
    }
}
