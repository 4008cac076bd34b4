//! Reading a log back: is every entry the one that was written, after the one that it was written after?

use std::collections::{BTreeMap, BTreeSet};

use countersign_crypto::digest::Sha256Digest;

use crate::chain::{self, ChainName, Head, MAX_LINE, Placed, Torn, Unfit};

/// Most chains of one log: what is remembered is bounded.
pub const MAX_CHAINS: usize = 10_000;

/// How many chains a log may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chains {
    /// One, as a file has.
    One,
    /// Several, each from its beginning: of several services, or of one that begins a new one whenever it starts.
    Several,
}

/// What ended a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A newline.
    Newline,
    /// The end of the file.
    Nothing,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line is no entry of a chained log.
    #[error("this line is no entry of a chained log")]
    NoEntry,
    /// The line is longer than any entry.
    #[error("this line is longer than any entry")]
    TooLong,
    /// The entry was changed: its hash is another.
    #[error("this entry was changed: its hash is not the one that it names")]
    Changed,
    /// Entries are missing, come twice or in another order.
    #[error("after entry {after} comes entry {found}: entries are missing, doubled or in another order")]
    Gap {
        /// The last entry that was right.
        after: u64,
        /// The number found.
        found: u64,
    },
    /// The entry before is not the one that this one was written after.
    #[error("this entry was not written after the entry before it")]
    Unlinked,
    /// An entry of another chain.
    #[error("this entry is of another chain than those before it")]
    AnotherChain,
    /// More chains than can be remembered.
    #[error("there are more than {MAX_CHAINS} chains")]
    TooManyChains,
    /// The entry names the rest of a line that is not there.
    #[error("this entry says that it comes after a line that was not written whole, and there is none like that")]
    TornMissing,
}

/// The first entry that is not right, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file, counted from 0.
    pub file: usize,
    /// The line in it, counted from 1.
    pub line: u64,
    /// The chain, if the line says so.
    pub chain: Option<String>,
    /// Its number, if the line says so.
    pub seq: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// What was seen of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub chain: ChainName,
    /// The number of the first entry.
    pub first: u64,
    /// When that was written, as it says.
    pub since: String,
    /// The last entry.
    pub head: Head,
    /// When that was written, as it says.
    pub until: String,
    /// Lines that were not written whole, which a later entry vouches for.
    pub torn: u64,
}

/// What can be said of a log that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The chains, by name.
    pub chains: Vec<Seen>,
    /// Bytes at the very end that are the beginning of a line: the writer was stopped while it wrote.
    pub torn_end: Option<u64>,
    /// The hashes that were expected and are of no entry.
    pub missing: Vec<Sha256Digest>,
}

/// Reads lines one by one and remembers only where each chain stands.
#[derive(Debug)]
pub struct Verifier {
    allowed: Chains,
    chains: BTreeMap<String, Seen>,
    expected: BTreeSet<Sha256Digest>,
    file: usize,
    line: u64,
    /// A line that was not whole, which the next entry must vouch for.
    pending: Option<(Torn, Ending, Broken)>,
}

impl Verifier {
    /// Begins; every one of the expected hashes has to be an entry's.
    #[must_use]
    pub fn new(allowed: Chains, expected: BTreeSet<Sha256Digest>) -> Self {
        Self { allowed, chains: BTreeMap::new(), expected, file: 0, line: 0, pending: None }
    }

    /// Goes on with the next file.
    pub fn next_file(&mut self) {
        self.file += 1;
        self.line = 0;
    }

    /// Takes the next line, without its ending. Of a line that is longer than [`MAX_LINE`] the beginning is enough.
    ///
    /// # Errors
    /// Says what is wrong with it, or with the line before.
    pub fn line(&mut self, line: &[u8], ending: Ending) -> Result<(), Broken> {
        self.line += 1;
        match chain::read(line) {
            Ok((placed, hash)) if ending == Ending::Newline => self.entry(placed, hash),
            // Without its newline it is not written whole, even if only that is missing.
            Ok((placed, _)) => self.unfit(line, ending, Some(&placed), Fault::NoEntry),
            Err(Unfit::TooLong) => self.unfit(line, ending, None, Fault::TooLong),
            Err(Unfit::Shape) => self.unfit(line, ending, None, Fault::NoEntry),
            Err(Unfit::Hash) => self.unfit(line, ending, serde_json::from_slice(line).ok().as_ref(), Fault::Changed),
        }
    }

    /// Ends.
    ///
    /// # Errors
    /// When the last line is not right; the beginning of a line at the very end is no fault, as the report says.
    pub fn finish(mut self) -> Result<Report, Broken> {
        let torn_end = match self.pending.take() {
            Some((torn, Ending::Nothing, _)) => Some(torn.bytes),
            Some((_, Ending::Newline, broken)) => return Err(broken),
            None => None,
        };
        let chains = self.chains.into_values().collect();
        Ok(Report { chains, torn_end, missing: self.expected.into_iter().collect() })
    }

    fn broken(&self, placed: Option<&Placed>, fault: Fault) -> Broken {
        let chain = placed.map(|placed| placed.chain.clone());
        Broken { file: self.file, line: self.line, chain, seq: placed.map(|placed| placed.seq), fault }
    }

    /// Remembers a line that is no entry, until the next one says that it was never written whole.
    fn unfit(&mut self, line: &[u8], ending: Ending, placed: Option<&Placed>, fault: Fault) -> Result<(), Broken> {
        if let Some((_, _, broken)) = self.pending.take() {
            return Err(broken);
        }
        let broken = self.broken(placed, fault);
        if line.len() > MAX_LINE {
            return Err(broken);
        }
        self.pending = Some((Torn::of(line), ending, broken));
        Ok(())
    }

    fn entry(&mut self, placed: Placed, hash: Sha256Digest) -> Result<(), Broken> {
        let vouched = match (self.pending.take(), &placed.torn) {
            (None, None) => 0,
            (Some((found, _, _)), Some(torn)) if found == *torn => 1,
            (Some((_, _, broken)), _) => return Err(broken),
            (None, Some(_)) => return Err(self.broken(Some(&placed), Fault::TornMissing)),
        };
        let fault = |this: &Self, fault| Err(this.broken(Some(&placed), fault));
        let Ok(name) = ChainName::parse(&placed.chain) else { return fault(self, Fault::NoEntry) };
        if let Some(seen) = self.chains.get_mut(&placed.chain) {
            let after = seen.head;
            if after.seq.checked_add(1) != Some(placed.seq) {
                return fault(self, Fault::Gap { after: after.seq, found: placed.seq });
            }
            if placed.prev != after.hash.hex() {
                return fault(self, Fault::Unlinked);
            }
            seen.head = Head { seq: placed.seq, hash };
            seen.until = placed.time;
            seen.torn += vouched;
        } else {
            let begins = placed.seq == 1 && placed.prev == Head::BEGINNING.hash.hex();
            if placed.seq == 0 || (placed.seq == 1 && !begins) {
                return fault(self, Fault::Unlinked);
            }
            match self.allowed {
                Chains::One if !self.chains.is_empty() => return fault(self, Fault::AnotherChain),
                Chains::Several if self.chains.len() >= MAX_CHAINS => return fault(self, Fault::TooManyChains),
                // Amidst others a chain is whole from its beginning, or somebody cut it.
                Chains::Several if !self.chains.is_empty() && !begins => {
                    return fault(self, Fault::Gap { after: 0, found: placed.seq });
                }
                Chains::One | Chains::Several => {}
            }
            let head = Head { seq: placed.seq, hash };
            let (since, until) = (placed.time.clone(), placed.time);
            let seen = Seen { chain: name, first: placed.seq, since, head, until, torn: vouched };
            self.chains.insert(placed.chain, seen);
        }
        self.expected.remove(&hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Draft;

    fn name(text: &str) -> ChainName {
        ChainName::parse(text).unwrap()
    }

    fn chain_of(chain: &str, from: Head, entries: u64) -> (Vec<String>, Head) {
        let (mut lines, mut head) = (Vec::new(), from);
        for number in 0..entries {
            let draft = Draft::new(&json!({"time": format!("t{number}"), "event": "publish", "gun": "a/b"})).unwrap();
            let (line, next) = draft.chained(&name(chain), &head);
            lines.push(line);
            head = next;
        }
        (lines, head)
    }

    fn verify_as(allowed: Chains, log: &[u8], expected: &[Head]) -> Result<Report, Broken> {
        let mut verifier = Verifier::new(allowed, expected.iter().map(|head| head.hash).collect());
        for line in log.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => verifier.line(line, Ending::Newline)?,
                None => verifier.line(line, Ending::Nothing)?,
            }
        }
        verifier.finish()
    }

    fn verify(log: &[u8]) -> Result<Report, Broken> {
        verify_as(Chains::One, log, &[])
    }

    fn joined(lines: &[String]) -> Vec<u8> {
        lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
    }

    #[test]
    fn a_log_that_is_whole_is_told_from_its_first_to_its_last_entry() {
        let (lines, head) = chain_of("c", Head::BEGINNING, 5);
        let report = verify(&joined(&lines)).unwrap();
        let seen = report.chains.first().unwrap();
        assert_eq!((seen.first, seen.head, seen.since.as_str(), seen.until.as_str()), (1, head, "t0", "t4"));
        assert_eq!((report.torn_end, report.chains.len()), (None, 1));
        // Earlier files may be gone.
        assert_eq!(verify(&joined(&lines[2..])).unwrap().chains[0].first, 3);
        assert!(verify(b"").unwrap().chains.is_empty());
    }

    #[test]
    fn only_who_kept_a_head_finds_that_the_end_is_missing() {
        let (lines, head) = chain_of("c", Head::BEGINNING, 5);
        assert!(verify_as(Chains::One, &joined(&lines), &[head]).unwrap().missing.is_empty());
        let cut = verify_as(Chains::One, &joined(&lines[..4]), &[head]).unwrap();
        assert_eq!(cut.missing, [head.hash]);
    }

    #[test]
    fn a_line_cut_short_at_the_very_end_is_told_from_tampering() {
        let (lines, _) = chain_of("c", Head::BEGINNING, 3);
        let mut log = joined(&lines);
        let last = lines[2].len() as u64;
        log.pop();
        assert_eq!(verify(&log).unwrap().torn_end, Some(last));
        log.truncate(log.len() - 20);
        let report = verify(&log).unwrap();
        assert_eq!((report.torn_end, report.chains[0].head.seq), (Some(last - 20), 2));
        // The same with something after it is not.
        log.push(b'\n');
        assert_eq!(verify(&log).unwrap_err().fault, Fault::NoEntry);
    }

    #[test]
    fn the_entry_after_a_torn_line_vouches_for_exactly_its_bytes() {
        let (lines, head) = chain_of("c", Head::BEGINNING, 2);
        let fragment = br#"{"chain":"c","seq":3,"ti"#;
        let draft = Draft::new(&json!({"event": "start", "torn": Torn::of(fragment)})).unwrap();
        let (next, _) = draft.chained(&name("c"), &head);
        let log = |fragment: &[u8]| [&joined(&lines)[..], fragment, b"\n", next.as_bytes(), b"\n"].concat();
        assert_eq!(verify(&log(fragment)).unwrap().chains[0].torn, 1);
        assert_eq!(verify(&log(br#"{"chain":"c","seq":3,"to"#)).unwrap_err().line, 3);
        let without = [&joined(&lines)[..], next.as_bytes(), b"\n"].concat();
        assert_eq!(verify(&without).unwrap_err().fault, Fault::TornMissing);
        // Where the log was moved away after it was torn, the next file begins with that entry.
        let mut verifier = Verifier::new(Chains::One, BTreeSet::new());
        for line in &lines {
            verifier.line(line.as_bytes(), Ending::Newline).unwrap();
        }
        verifier.line(fragment, Ending::Nothing).unwrap();
        verifier.next_file();
        verifier.line(next.as_bytes(), Ending::Newline).unwrap();
        assert_eq!(verifier.finish().unwrap().chains[0].torn, 1);
    }

    #[test]
    fn another_chain_belongs_to_a_log_only_where_that_is_said() {
        let ((a, _), (b, _)) = (chain_of("a", Head::BEGINNING, 3), chain_of("b", Head::BEGINNING, 2));
        let mixed = joined(&[&a[..1], &b[..], &a[1..]].concat());
        let broken = verify(&mixed).unwrap_err();
        assert_eq!((broken.fault, broken.line, broken.chain.as_deref()), (Fault::AnotherChain, 2, Some("b")));
        assert_eq!(verify_as(Chains::Several, &mixed, &[]).unwrap().chains.len(), 2);
        let cut = joined(&[&a[..], &b[1..]].concat());
        assert_eq!(verify_as(Chains::Several, &cut, &[]).unwrap_err().fault, Fault::Gap { after: 0, found: 2 });
    }

    #[test]
    fn what_is_no_chained_log_is_told_at_its_first_line() {
        let other = b"{\"time\":\"x\",\"action\":\"sign\"}\n{\"time\":\"y\"}\n";
        let broken = verify(other).unwrap_err();
        assert_eq!((broken.line, broken.fault), (1, Fault::NoEntry));
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(verify(&long).unwrap_err().fault, Fault::TooLong);
    }

    proptest! {
        #[test]
        fn any_change_of_any_byte_is_found(entry in 0_usize..6, at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let (lines, head) = chain_of("c", Head::BEGINNING, 6);
            let mut log = joined(&lines);
            let begin: usize = lines[..entry].iter().map(|line| line.len() + 1).sum();
            let place = begin + at.index(lines[entry].len() + 1);
            prop_assume!(log[place] != to);
            log[place] = to;
            match verify_as(Chains::One, &log, &[head]) {
                Err(broken) => prop_assert_eq!(broken.line, entry as u64 + 1),
                // The newline at the very end: the last entry is torn, and missing.
                Ok(report) => prop_assert!(report.torn_end.is_some() && report.missing == [head.hash]),
            }
        }

        #[test]
        fn any_removal_reordering_doubling_or_insertion_is_found(a in 0_usize..8, b in 0_usize..8, how in 0_u8..4) {
            let (lines, head) = chain_of("c", Head::BEGINNING, 8);
            let mut changed = lines.clone();
            match how {
                0 => { changed.remove(a); }
                1 => changed.swap(a, b),
                2 => { let line = changed[a].clone(); changed.insert(b, line); }
                _ => {
                    // Somebody who can compute hashes puts an entry of his own behind an honest one.
                    let (_, before) = chain_of("c", Head::BEGINNING, a as u64);
                    let forged = Draft::new(&json!({"event": "delete", "time": "x"})).unwrap();
                    changed.insert(a, forged.chained(&name("c"), &before).0);
                }
            }
            prop_assume!(changed != lines);
            match verify_as(Chains::One, &joined(&changed), &[head]) {
                Err(_) => {}
                // Of what is cut off at the beginning the first number tells, at the end the head.
                Ok(report) => prop_assert!(!report.missing.is_empty() || report.chains[0].first != 1),
            }
        }

        #[test]
        fn whatever_is_read_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = verify(&bytes);
        }
    }
}
