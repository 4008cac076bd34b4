//! What everybody who uses an image is told when its collection was begun anew.

use countersign_crypto::KeyId;
use countersign_tuf::Gun;

/// Writes the text; the ids are those of root certificates, as they are pinned.
pub(super) fn notice(gun: &Gun, old: &[KeyId], new: &[KeyId], date: jiff::Timestamp) -> String {
    let list = |ids: &[KeyId]| ids.iter().map(|id| format!("    {id}")).collect::<Vec<_>>().join("\n");
    let pins: Vec<String> = new.iter().map(|id| format!("--root-key {id}")).collect();
    let quoted: Vec<String> = new.iter().map(|id| format!("\"{id}\"")).collect();
    let (pins, quoted, day) = (pins.join(" "), quoted.join(", "), date.strftime("%Y-%m-%d"));
    format!(
        "\
The signatures of {gun} have a new root key since {day}.

The old root key was lost, so that it could not sign its successor. Whatever has seen the old one refuses the image until you
have done what follows. Compare the new id with the owner's, by another way than this text came.

Old root key:
{old}
New root key:
{new}

Countersign, on every machine:

    countersign pin {gun} {pins} --replace
    countersign verify --re-establish-trust {gun}:TAG

docker with content trust (up to 28), on every machine and for every user; after it the first pull trusts what it gets:

    rm -r ~/.docker/trust/tuf/{gun}/metadata
    docker pull {gun}:TAG

notary, on every machine; never with --remote:

    notary delete {gun}

  and, so that the first use is none on trust, in ~/.notary/config.json:

    \"trust_pinning\": {{ \"certs\": {{ \"{gun}\": [{quoted}] }} }}

Signers keep their keys. Each of them signs once more what is theirs.
",
        old = list(old),
        new = list(new),
    )
}
