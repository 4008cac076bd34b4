//! `countersign audit`: who did what on a trust service, and whether that is still what was written.

mod files;
mod verdict;

use super::Format;
use super::serve::Place;
use crate::error::{CliError, Kind};
use crate::output::data;
use clap::{Args, Subcommand};
use countersign_audit::{Chains, Ending, Head, Report, Verifier};
use countersign_crypto::digest::Sha256Digest;
use countersign_server::{AuditChainName, AuditReadError, AuditReader, AuditSink};
use std::collections::BTreeSet;
use std::path::PathBuf;
use verdict::Verdict;

/// Lines that are asked of a database at once.
const PAGE: u16 = 500;

/// Read the trust service's audit log: who did what
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    Verify(Verify),
    Show(Show),
}

/// Check that no entry was changed, taken out, put in or moved since it was written
///
/// A chain of hashes cannot show that entries are missing at its end, or that somebody wrote all of it anew: keep the hash
/// that is printed elsewhere, and have it looked for the next time with --expect.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Files of one log, or - for stdin [default: the log that the service's settings name]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The hash of an entry that must be there (repeatable)
    #[arg(long, value_name = "HASH", value_parser = hash)]
    expect: Vec<Sha256Digest>,
    /// The files hold several chains: of several services, or of one that wrote to stdout and was started several times
    #[arg(long, requires = "files")]
    several: bool,
    #[command(flatten)]
    of: Of,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Print the entries that are in a database, chain after chain
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    of: Of,
}

/// Which log.
#[derive(Debug, Args)]
struct Of {
    /// Only this chain of the database
    #[arg(long, value_name = "NAME", value_parser = AuditChainName::parse)]
    chain: Option<AuditChainName>,
    #[command(flatten)]
    place: Place,
}

fn hash(text: &str) -> Result<Sha256Digest, String> {
    Sha256Digest::from_hex(&text.to_ascii_lowercase()).map_err(|error| error.to_string())
}

impl Audit {
    pub(crate) async fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Verify(verify) => verify.run().await,
            Self::Show(show) => show.run().await,
        }
    }
}

impl Verify {
    async fn run(&self) -> Result<(), CliError> {
        let expected: BTreeSet<Sha256Digest> = self.expect.iter().copied().collect();
        let verdict = if self.files.is_empty() {
            match self.own()? {
                Some(file) => files::verify(&[file], Chains::One, expected)?,
                None => self.of.verify(expected).await?,
            }
        } else {
            let chains = if self.several { Chains::Several } else { Chains::One };
            let (files, chains) = (self.files.clone(), chains);
            tokio::task::spawn_blocking(move || files::verify(&files, chains, expected))
                .await
                .map_err(|error| CliError::internal(&error))??
        };
        verdict.tell(self.format)
    }

    /// Returns the file that the service's settings name; none where the log is in the database.
    fn own(&self) -> Result<Option<PathBuf>, CliError> {
        if self.of.place.is_named() || self.of.chain.is_some() {
            return Ok(None);
        }
        match self.of.place.config()?.audit.map(|audit| audit.sink) {
            Some(AuditSink::File(path)) => Ok(Some(path)),
            Some(AuditSink::Database) => Ok(None),
            Some(AuditSink::Stdout) => {
                Err(CliError::user("the service writes its audit log to stdout: name the files that it ended up in"))
            }
            None => Err(CliError::user("name the files of the audit log, or the service's --database or --data-dir")),
        }
    }
}

impl Show {
    async fn run(&self) -> Result<(), CliError> {
        let reader = self.of.open().await?;
        for (chain, _) in self.of.chains(&reader).await? {
            let mut after = 0;
            loop {
                let lines = reader.lines(&chain, after, PAGE).await.map_err(|error| unread(&error))?;
                let Some(last) = lines.last() else { break };
                // What is damaged is shown all the same.
                after = countersign_audit::sealed_head(last.as_bytes())
                    .map_or(after.saturating_add(lines.len() as u64), |(_, head)| head.seq);
                lines.iter().try_for_each(data)?;
            }
        }
        reader.close().await;
        Ok(())
    }
}

impl Of {
    async fn open(&self) -> Result<AuditReader, CliError> {
        AuditReader::open(&self.place.config()?).await.map_err(|error| unread(&error))
    }

    async fn chains(&self, reader: &AuditReader) -> Result<Vec<(AuditChainName, Head)>, CliError> {
        let mut heads = reader.heads().await.map_err(|error| unread(&error))?;
        if let Some(chain) = &self.chain {
            heads.retain(|(name, _)| name == chain);
            if heads.is_empty() {
                return Err(CliError::user(format!("the database has no chain {chain}")));
            }
        }
        Ok(heads)
    }

    /// Reads every chain in the database; each must reach at least as far as the database says.
    async fn verify(&self, expected: BTreeSet<Sha256Digest>) -> Result<Verdict, CliError> {
        let reader = self.open().await?;
        let (mut seen, mut missing) = (Vec::new(), expected);
        let mut broken = None;
        for (chain, head) in self.chains(&reader).await? {
            let found = read(&reader, &chain, &head, &mut missing).await.map_err(|error| unread(&error))?;
            match found {
                Ok(report) => seen.extend(report.chains),
                Err(found) => {
                    broken = Some(found);
                    break;
                }
            }
        }
        reader.close().await;
        let missing = missing.into_iter().collect();
        Ok(Verdict::of_database(Report { chains: seen, torn_end: None, missing }, broken))
    }
}

/// Reads a chain; takes the hashes that are found from those that are expected.
async fn read(
    reader: &AuditReader,
    chain: &AuditChainName,
    head: &Head,
    expected: &mut BTreeSet<Sha256Digest>,
) -> Result<Result<Report, verdict::Wrong>, AuditReadError> {
    let mut wanted = expected.clone();
    if head.seq > 0 {
        wanted.insert(head.hash);
    }
    let mut verifier = Verifier::new(Chains::One, wanted);
    let mut after = 0;
    loop {
        let lines = reader.lines(chain, after, PAGE).await?;
        if lines.is_empty() {
            break;
        }
        for line in &lines {
            if let Err(broken) = verifier.line(line.as_bytes(), Ending::Newline) {
                return Ok(Err(verdict::Wrong::Entry(broken, format!("chain {chain}"))));
            }
            match countersign_audit::sealed_head(line.as_bytes()) {
                Some((name, place)) if name == *chain && place.seq > after => after = place.seq,
                _ => return Ok(Err(verdict::Wrong::Misplaced { chain: chain.to_string(), after })),
            }
        }
    }
    let mut report = match verifier.finish() {
        Ok(report) => report,
        Err(broken) => return Ok(Err(verdict::Wrong::Entry(broken, format!("chain {chain}")))),
    };
    if head.seq > 0 && report.missing.contains(&head.hash) {
        return Ok(Err(verdict::Wrong::HeadMissing { chain: chain.to_string(), head: *head }));
    }
    expected.retain(|hash| report.missing.contains(hash));
    report.missing.clear();
    Ok(Ok(report))
}

fn unread(error: &AuditReadError) -> CliError {
    CliError::new(Kind::Local, super::serve::chain(error))
}
