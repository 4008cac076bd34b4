//! `notary add`, `notary addhash` and `notary remove`: staging what names stand for.

use super::context::Session;
use super::failure::Failure;
use super::invocation::{Invocation, parse_gun};
use super::{input, print, publish};
use bytes::Bytes;
use countersign_crypto::digest::{HashPair, Sha256Digest, Sha512Digest};
use countersign_tuf::RoleName;
use countersign_tuf::metadata::FileMeta;
use std::io::Read;

/// Stages a file.
pub(super) async fn add(invocation: &Invocation) -> Result<(), Failure> {
    let [gun, name, path] = invocation.first("Must specify a GUN, target, and path to target data")?;
    let session = Session::open(invocation, parse_gun(gun)?, publish::reach(invocation))?;
    let custom = custom(invocation)?;
    let meta = FileMeta { custom, ..described(path)? };
    stage(invocation, &session, name, &meta, "").await
}

/// Stages a size and hashes.
pub(super) async fn add_hash(invocation: &Invocation) -> Result<(), Failure> {
    const WANTED: &str = "Must specify a GUN, target, byte size of target data, and at least one hash";
    let [gun, name, size] = invocation.first(WANTED)?;
    let (sha256, sha512) = (invocation.value("sha256"), invocation.value("sha512"));
    let algorithms: Vec<&str> =
        [("sha256", sha256), ("sha512", sha512)].into_iter().filter_map(|(name, hash)| hash.map(|_| name)).collect();
    if algorithms.is_empty() {
        return Err(invocation.refuse(WANTED));
    }
    let session = Session::open(invocation, parse_gun(gun)?, publish::reach(invocation))?;
    let length = whole_number(size)?;
    let invalid = |algorithm: &str| Failure::user(format!("invalid {algorithm} hex contents provided"));
    let sha256 = sha256.map(|hex| Sha256Digest::from_hex(&hex.to_ascii_lowercase()).map_err(|_| invalid("sha256")));
    let sha512 = sha512.map(|hex| Sha512Digest::from_hex(&hex.to_ascii_lowercase()).map_err(|_| invalid("sha512")));
    let (sha256, sha512) = (sha256.transpose()?, sha512.transpose()?);
    let meta = FileMeta { length, sha256, sha512, other_hashes: Vec::new(), custom: custom(invocation)? };
    stage(invocation, &session, name, &meta, &format!(" by {} hash", algorithms.join(", "))).await
}

/// Stages that a name goes.
pub(super) async fn remove(invocation: &Invocation) -> Result<(), Failure> {
    let arguments = invocation.arguments();
    let [gun, name, ..] = arguments.as_slice() else {
        return Err(Failure::user("Must specify a GUN and target"));
    };
    let session = Session::open(invocation, parse_gun(gun)?, publish::reach(invocation))?;
    let roles = invocation.target_roles()?;
    session.here()?.stage_target_removal(name, &roles)?;
    print(format_args!("Removal of {} from {gun} staged for next publish.\n", shown(name)))?;
    publish::if_wanted(invocation, &session).await
}

async fn stage(
    invocation: &Invocation,
    session: &Session,
    name: &str,
    meta: &FileMeta,
    how: &str,
) -> Result<(), Failure> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Failure::user(format!("a target name must not be empty or contain control characters: {name:?}")));
    }
    let roles: Vec<RoleName> = invocation.target_roles()?;
    session.here()?.stage_target(name, meta, &roles)?;
    let (name, gun) = (shown(name), session.gun());
    print(format_args!("Addition of target \"{name}\"{how} to repository \"{gun}\" staged for next publish.\n"))?;
    publish::if_wanted(invocation, session).await
}

/// Makes a name harmless for a terminal.
fn shown(name: &str) -> String {
    crate::output::harmless(name)
}

/// Reads the custom data that the caller names, and brings it into the form in which it is signed.
fn custom(invocation: &Invocation) -> Result<Option<Bytes>, Failure> {
    let Some(path) = invocation.value("custom") else { return Ok(None) };
    let bytes = input::read(path)?;
    countersign_trust::canonical_custom(&bytes).map(Some).map_err(Failure::user)
}

/// Describes a file by its length and both hashes.
fn described(path: &str) -> Result<FileMeta, Failure> {
    let mut file = input::open(path)?;
    let (mut pair, mut length, mut piece) = (HashPair::new(), 0_u64, vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                pair.update(piece.get(..read).unwrap_or_default());
                length += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::user(format!("read {path}: {error}"))),
        }
    }
    let (sha256, sha512) = pair.finish();
    Ok(FileMeta { length, sha256: Some(sha256), sha512: Some(sha512), other_hashes: Vec::new(), custom: None })
}

/// Reads a number of bytes as Go reads a whole number: with a prefix for its base, and underscores between digits.
fn whole_number(text: &str) -> Result<u64, Failure> {
    let wrong = |why: &str| Failure::user(format!("strconv.ParseInt: parsing {text:?}: {why}"));
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix('+').unwrap_or(&lower);
    let (digits, base) = match unsigned.split_at_checked(2) {
        Some(("0x", digits)) => (digits, 16),
        Some(("0b", digits)) => (digits, 2),
        Some(("0o", digits)) => (digits, 8),
        _ => match unsigned.strip_prefix('0') {
            Some(digits) if !digits.is_empty() => (digits, 8),
            _ => (unsigned, 10),
        },
    };
    let misplaced = digits.ends_with('_') || digits.contains("__") || (base == 10 && digits.starts_with('_'));
    let digits = digits.replace('_', "");
    if digits.is_empty() || misplaced || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(wrong("invalid syntax"));
    }
    let number = i64::from_str_radix(&digits, base).map_err(|_| wrong("value out of range"))?;
    u64::try_from(number).map_err(|_| wrong("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_go_reads_numbers() {
        for (text, number) in [
            ("0", 0),
            ("5", 5),
            ("0x10", 16),
            ("0X1F", 31),
            ("010", 8),
            ("0o17", 15),
            ("0b101", 5),
            ("5_0", 50),
            ("+7", 7),
        ] {
            assert_eq!(whole_number(text).unwrap(), number, "{text}");
        }
        for text in ["", "x", "5x", "0x", "09", "-1", "_1", "1__0", "1_", "99999999999999999999", "1.5", " 1"] {
            assert!(whole_number(text).is_err(), "{text:?}");
        }
    }
}
