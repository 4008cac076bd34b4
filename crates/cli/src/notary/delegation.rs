//! `notary delegation …`: who else may sign.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::{Invocation, parse_gun};
use super::table::table;
use super::{input, print, publish};
use crate::notes;
use crate::output::harmless;
use crate::prompt::Voice;
use countersign_crypto::{KeyId, PublicKey};
use countersign_notary::Access;
use countersign_trust::{DelegationRemoval, PathEdit, RequestError, read_public_key};
use countersign_tuf::update::Purpose;
use countersign_tuf::{Collection, RoleName};

/// How the path that all names begin with is shown.
const ALL_PATHS: &str = "\"\" <all paths>";

/// How a PEM block begins.
const BEGIN: &[u8] = b"-----BEGIN ";

/// Lists the delegations.
pub(super) async fn list(invocation: &Invocation) -> Result<(), Failure> {
    let arguments = invocation.arguments();
    let [gun] = arguments.as_slice() else {
        return Err(invocation.refuse("Please provide a Global Unique Name as an argument to list"));
    };
    let session = Session::open(invocation, parse_gun(gun)?, Reach::Service)?;
    let outcome = session.at_service(Access::Read, async |client| client.update(Purpose::Read).await).await;
    let words = format!("Error retrieving delegation roles for repository {gun}: ");
    let collection = outcome.map_err(|failure| failure.context(&words))?;
    notes::show(&collection);
    let rows = rows(&collection);
    if rows.is_empty() {
        return print("\n\nNo delegations present in this repository.\n\n\n");
    }
    print(format_args!("\n{}\n", table(["ROLE", "PATHS", "KEY IDS", "THRESHOLD"], &rows)))
}

/// Lays out one or more rows for each delegation: its paths sorted, its keys in the order of the metadata.
fn rows(collection: &Collection) -> Vec<[String; 4]> {
    let mut all: Vec<_> = collection
        .all_targets()
        .flat_map(|(_, file)| file.delegations.iter().map(|role| (role, &file.delegations.keys)))
        .collect();
    all.sort_by_key(|(role, _)| role.name.as_str().to_owned());
    let mut rows = Vec::new();
    for (role, keys) in all {
        let mut paths: Vec<&str> = role.paths.iter().map(AsRef::as_ref).collect();
        paths.sort_unstable();
        let mut paths = paths.into_iter().map(|path| if path.is_empty() { ALL_PATHS } else { path }.to_owned());
        let keys = role.keys.key_ids.iter().filter_map(|id| keys.get(id));
        let mut keys = keys.map(|key: &PublicKey| key.canonical_id().to_string());
        let mut first = Some((role.name.to_string(), role.keys.threshold.to_string()));
        loop {
            let (path, key) = (paths.next(), keys.next());
            if path.is_none() && key.is_none() && first.is_none() {
                break;
            }
            let (name, threshold) = first.take().unwrap_or_default();
            rows.push([name, path.unwrap_or_default(), key.unwrap_or_default(), threshold]);
        }
    }
    rows
}

/// Stages that a delegation is made or extended.
pub(super) async fn add(invocation: &Invocation) -> Result<(), Failure> {
    let (arguments, paths) = (invocation.arguments(), paths(invocation));
    let [gun, name, files @ ..] = arguments.as_slice() else { return Err(refuse_addition(invocation)) };
    if files.is_empty() && paths == PathEdit::None {
        return Err(refuse_addition(invocation));
    }
    let session = Session::open(invocation, parse_gun(gun)?, publish::reach(invocation))?;
    let now = session.shared().now;
    let keys = files.iter().map(|file| public_key(file, now)).collect::<Result<Vec<PublicKey>, Failure>>()?;
    let role = delegation(name).ok_or_else(|| {
        Failure::user(format!("failed to create delegation: tuf: invalid role {name}. invalid delegation role name"))
    })?;
    session.here()?.stage_delegation(&role, &keys, &paths)?;
    let keys = with_keys(keys.iter().map(PublicKey::canonical_id));
    let paths = match &paths {
        PathEdit::All => format!("with paths [{ALL_PATHS}], "),
        other => with_paths(other),
    };
    print(format_args!(
        "\nAddition of delegation role {role} {keys}{paths}to repository \"{gun}\" staged for next publish.\n\n"
    ))?;
    publish::if_wanted(invocation, &session).await
}

fn refuse_addition(invocation: &Invocation) -> Failure {
    invocation.refuse(
        "must specify the Global Unique Name and the role of the delegation along with the public key certificate paths and/or a list of paths to add",
    )
}

/// Stages that a delegation loses keys or paths, or goes.
pub(super) async fn remove(invocation: &Invocation) -> Result<(), Failure> {
    let (arguments, paths) = (invocation.arguments(), paths(invocation));
    let [gun, name, ids @ ..] = arguments.as_slice() else {
        return Err(invocation.refuse(
            "must specify the Global Unique Name and the role of the delegation along with optional keyIDs and/or a list of paths to remove",
        ));
    };
    let session = Session::open(invocation, parse_gun(gun)?, publish::reach(invocation))?;
    let role = delegation(name).ok_or_else(|| Failure::user(format!("invalid delegation name {name}")))?;
    let keys = ids.iter().map(|id| key_id(id)).collect::<Result<Vec<KeyId>, Failure>>()?;
    let (removal, text) = if keys.is_empty() && paths == PathEdit::None {
        confirm(invocation)?;
        let text = format!("Forced removal (including all keys and paths) of delegation role {role} ");
        (DelegationRemoval::Role, text)
    } else {
        let (with_keys, with_paths) = (with_keys(keys.iter().copied()), with_paths(&paths));
        let text = format!("Removal of delegation role {role} {with_keys}{with_paths}");
        (DelegationRemoval::Parts { keys, paths }, text)
    };
    session.here()?.stage_delegation_removal(&role, &removal)?;
    print(format_args!("\n{text}to repository \"{gun}\" staged for next publish.\n\n"))?;
    publish::if_wanted(invocation, &session).await
}

fn confirm(invocation: &Invocation) -> Result<(), Failure> {
    const QUESTION: &str = "\nAre you sure you want to remove all data for this delegation? (yes/no)";
    if invocation.is_on("yes") {
        return print(format_args!("{QUESTION}\nConfirmed `yes` from flag\n"));
    }
    if Voice::Notary.confirms(QUESTION) { print("\n") } else { Err(Failure::user("Aborting action.")) }
}

/// Stages that keys go from every delegation.
pub(super) async fn purge(invocation: &Invocation) -> Result<(), Failure> {
    let arguments = invocation.arguments();
    let [gun] = arguments.as_slice() else {
        return Err(invocation.refuse("Please provide a single Global Unique Name as an argument to remove"));
    };
    let ids = invocation.values("key");
    if ids.is_empty() {
        return Err(invocation.refuse("Please provide at least one key ID to be removed using the --key flag"));
    }
    let session = Session::open(invocation, parse_gun(gun)?, publish::reach(invocation))?;
    let keys = ids.iter().map(|id| key_id(id)).collect::<Result<Vec<KeyId>, Failure>>()?;
    session.here()?.stage_purge(&keys)?;
    let list = super::bullets(&keys);
    print(format_args!(
        "Removal of the following keys from all delegations in {gun} staged for next publish:\n{list}"
    ))?;
    publish::if_wanted(invocation, &session).await
}

fn delegation(name: &str) -> Option<RoleName> {
    RoleName::parse(name).ok().filter(|role| matches!(role, RoleName::Delegation(_)))
}

fn paths(invocation: &Invocation) -> PathEdit {
    if invocation.is_on("all-paths") {
        return PathEdit::All;
    }
    let mut paths: Vec<String> = invocation.values("paths").into_iter().map(str::to_owned).collect();
    paths.sort_unstable();
    if paths.is_empty() { PathEdit::None } else { PathEdit::Prefixes(paths) }
}

fn with_keys(ids: impl Iterator<Item = KeyId>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if ids.is_empty() { String::new() } else { format!("with keys [{}], ", ids.join(" ")) }
}

fn with_paths(paths: &PathEdit) -> String {
    match paths {
        PathEdit::None => String::new(),
        PathEdit::All => "with all paths, ".to_owned(),
        PathEdit::Prefixes(paths) => {
            let paths: Vec<String> = paths.iter().map(|path| harmless(path)).collect();
            format!("with paths [{}], ", paths.join("\n"))
        }
    }
}

/// Reads a key's id; the reference stages anything and removes nothing then.
fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|_| Failure::user(format!("invalid key ID provided: {text}")))
}

fn public_key(file: &str, now: jiff::Timestamp) -> Result<PublicKey, Failure> {
    if !std::path::Path::new(file).exists() {
        return Err(Failure::user(format!("file for public key does not exist: {file}")));
    }
    let pem = input::read(file)?;
    read_public_key(&pem, now).map_err(|error| {
        let reason = match error {
            _ if !pem.windows(BEGIN.len()).any(|bytes| bytes == BEGIN) => "no valid public key found".to_owned(),
            RequestError::PublicKey(reason) => reason,
            other => other.to_string(),
        };
        Failure::user(format!("unable to parse valid public key certificate from PEM file {file}: {reason}"))
    })
}
