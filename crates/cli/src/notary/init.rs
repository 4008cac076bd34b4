//! `notary init`: a new collection's first metadata.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::Invocation;
use super::{input, print, publish};
use countersign_notary::Access;
use countersign_trust::{Beginning, TrustError, read_root_certificate};
use countersign_tuf::RoleName;

/// Begins a collection.
pub(super) async fn run(invocation: &Invocation) -> Result<(), Failure> {
    let gun = invocation.gun()?;
    let session = Session::open(invocation, gun.clone(), Reach::Service)?;
    let given = match invocation.value("rootkey") {
        Some(path) => Some(read_key(path)?),
        None => None,
    };
    let root = match &given {
        Some(pem) => Some(session.here()?.import_key(&RoleName::Root, pem)?),
        None => session.here()?.present_root_key()?,
    };
    if let Some(id) = root {
        print(format_args!("Root key found, using: {id}\n"))?;
    }
    let mut beginning = Beginning::notary();
    if given.is_some() {
        beginning.root_keys.extend(root);
    }
    if let Some(path) = invocation.value("rootcert") {
        let pem = input::read(path).map_err(|failure| failure.context("error reading certificate file: "))?;
        let certificate = read_root_certificate(&pem, &gun, session.shared().now);
        beginning.certificates.push(certificate.map_err(TrustError::from)?);
    }
    session.at_service(Access::Write, async |client| client.init(&beginning).await).await?;
    publish::if_wanted(invocation, &session).await
}

/// Reads a file with a private key.
pub(super) fn read_key(path: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    input::read(path).map_err(|failure| failure.context("Error reading input root key file: "))
}
