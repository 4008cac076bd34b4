//! Reading the files of a log, however large they are.

use super::verdict::{Verdict, Wrong};
use crate::error::{CliError, Kind};
use countersign_audit::{Broken, Chains, Ending, MAX_LINE, Verifier, sealed_head};
use countersign_crypto::digest::Sha256Digest;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Reads files as one log: in the order of their first entries, where each has one and there is one chain.
pub(super) fn verify(files: &[PathBuf], chains: Chains, expected: BTreeSet<Sha256Digest>) -> Result<Verdict, CliError> {
    let files = match chains {
        Chains::One => in_order(files)?,
        Chains::Several => files.to_vec(),
    };
    let mut verifier = Verifier::new(chains, expected);
    let wrong = |broken: Broken| {
        let file = files.get(broken.file).map(|path| path.display().to_string()).unwrap_or_default();
        Wrong::Entry(broken, file)
    };
    for (number, path) in files.iter().enumerate() {
        if number > 0 {
            verifier.next_file();
        }
        if let Err(broken) = lines(path, |line, ending| verifier.line(line, ending))? {
            return Ok(Verdict::broken(wrong(broken)));
        }
    }
    Ok(match verifier.finish() {
        Ok(report) => Verdict::whole(report),
        Err(broken) => Verdict::broken(wrong(broken)),
    })
}

/// The files by the numbers of their first entries, or as they were named where one has none.
fn in_order(files: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut numbered = Vec::with_capacity(files.len());
    for path in files {
        if files.len() == 1 || path == Path::new("-") {
            return Ok(files.to_vec());
        }
        let mut first = None;
        // Only the first line is of interest.
        let stopped = lines(path, |line, _| {
            first = sealed_head(line).map(|(_, head)| head.seq);
            Err(())
        })?;
        match (stopped, first) {
            (Ok(()), _) => numbered.push((u64::MAX, path.clone())),
            (Err(()), Some(seq)) => numbered.push((seq, path.clone())),
            (Err(()), None) => return Ok(files.to_vec()),
        }
    }
    numbered.sort_by_key(|(seq, _)| *seq);
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// Hands a file's lines over, one by one; of one that is longer than any entry only the beginning.
fn lines<E>(path: &Path, mut take: impl FnMut(&[u8], Ending) -> Result<(), E>) -> Result<Result<(), E>, CliError> {
    let failed = |error: std::io::Error| CliError::new(Kind::Local, error);
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs_err::File::open(path).map_err(failed)?)
    };
    let mut reader = BufReader::with_capacity(MAX_LINE, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = MAX_LINE as u64 + 1;
        if reader.by_ref().take(most).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(Ok(()));
        }
        let taken = match line.strip_suffix(b"\n") {
            Some(line) => take(line, Ending::Newline),
            None => take(&line, Ending::Nothing),
        };
        if taken.is_err() {
            return Ok(taken);
        }
    }
}
