//! What an update found worth saying, in the words of docker's log; what docker does not say comes as a hint.

use crate::output::{harmless, message};
use countersign_trust::CollectionClient;
use countersign_tuf::{Collection, Note, RoleName};

/// Docker Hub's trust service, which is being shut down.
const RETIRING: &str = "notary.docker.io";

/// Says, as docker 28.5 does, that Docker Hub's trust service is being shut down, where that is the one that is asked.
pub(crate) fn retiring(client: &CollectionClient<'_>) {
    if client.service().address().authority() == RETIRING {
        message("WARNING: Docker is retiring DCT for Docker Official Images (DOI).");
        message("         For details, refer to https://docs.docker.com/go/dct-deprecation/");
        message("");
    }
}

/// Writes an update's notes to stderr.
pub(crate) fn remark(collection: &Collection) {
    for note in collection.notes() {
        message(harmless(&text(collection, note)));
    }
}

fn text(collection: &Collection, note: &Note) -> String {
    let gun = collection.gun();
    match note {
        Note::CachedTimestamp(_) => log(
            "Error while downloading remote metadata, using cached timestamp - this might not be the latest version available remotely",
        ),
        Note::NearExpiry(RoleName::Targets, _) => {
            log("targets metadata is nearing expiry, you should re-sign the role metadata")
        }
        Note::NearExpiry(role, _) => log(&format!("{role} is nearing expiry, you should re-sign the role metadata")),
        Note::CertificateNearExpiry { common_name, .. } => {
            log(&format!("certificate with CN {common_name} is near expiry"))
        }
        Note::Broken(role, reason) => log(&format!("Error getting {role}: {reason}")),
        Note::FirstUse(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            hint(&format!(
                "first use of {gun}: its root key {} is trusted from now on; compare it with the owner's",
                ids.join(", ")
            ))
        }
        Note::FarExpiry(role, at) => hint(&format!("{role} metadata of {gun} expires absurdly late ({at})")),
        Note::WildcardRoot => hint(&format!(
            "the root certificate of {gun} is for a wildcard name: metadata of its siblings cannot be told apart"
        )),
        Note::ClockBehind => {
            hint("this machine's clock is behind the last verification: expired signatures could look fresh")
        }
    }
}

/// A line of the log as docker's client writes it.
fn log(message: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("time=\"{now}\" level=warning msg={message:?}")
}

fn hint(text: &str) -> String {
    format!("  hint: {text}")
}
