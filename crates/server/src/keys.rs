//! The key endpoints: which key the service signs a collection's snapshot or timestamp with.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::{KeyId, PublicKey};
use countersign_storage::{PendingKeyError, ServiceRole};
use countersign_tuf::{Gun, RoleName};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::audit::{self, By, Entry, Outcome};
use crate::error::{Code, Failure};
use crate::server_keys::KeyTrouble;

/// Answers with the key in use, or else with one to use.
pub(crate) async fn get(app: &Arc<App>, gun: Gun, role: ServiceRole, by: &By) -> Result<Answer, Failure> {
    match in_use(app, &gun, role).await? {
        Some(key) => Ok(answer(&key)),
        None => rotate(app, gun, role, by).await,
    }
}

/// Answers with a key that has never signed; the same until it has.
pub(crate) async fn rotate(app: &Arc<App>, gun: Gun, role: ServiceRole, by: &By) -> Result<Answer, Failure> {
    if let Some(key) = app.keys.pending(&gun, role).await? {
        return Ok(answer(&key));
    }
    let made = if let Some(remote) = app.keys.remote() {
        // One at a time, there as here: whoever has keys made must not keep away those who sign.
        let _turn = app.permit(&app.key_making).await?;
        app.keys.made_at(remote, &gun, role).await?
    } else {
        let keys = Arc::clone(&app.keys);
        app.compute(&app.key_making, move || keys.make(gun, role)).await??
    };
    let entry = Entry::new("key", by).gun(&made.gun).role(made.role.as_str()).key(&made.id.to_string());
    let work = Arc::clone(app);
    let key = app
        .to_the_end(async move {
            let ticket = work.audit.begin(entry).await?;
            let kept = work.keys.keep(made).await.map_err(Failure::from);
            match &kept {
                // Somebody else's may have been stored meanwhile.
                Ok(key) => ticket.end_with(Outcome::Done, |entry| entry.key(&key.canonical_id().to_string())),
                Err(failure) => ticket.end(audit::outcome_of(failure)),
            }
            kept
        })
        .await?;
    Ok(answer(&key))
}

impl From<KeyTrouble> for Failure {
    fn from(trouble: KeyTrouble) -> Self {
        trouble.while_doing(Code::Unknown)
    }
}

impl KeyTrouble {
    /// Puts the trouble into the protocol's words: the code says what was being done.
    pub(crate) fn while_doing(self, code: Code) -> Failure {
        let busy = match &self {
            Self::Keyserver(error) if error.is_away() => return Failure::new(Code::CannotSign).cause(self),
            Self::AnotherCollections { .. } => {
                let detail = json!({ "Name": "ErrBadRoot", "Error": { "Msg": self.to_string() } });
                return Failure::new(Code::InvalidUpdate).detail(detail).cause(self);
            }
            Self::Pending(PendingKeyError::TooMany { .. }) => true,
            Self::Store(error) | Self::Pending(PendingKeyError::Store(error)) => error.is_busy(),
            Self::Sealed { .. }
            | Self::Mismatch { .. }
            | Self::NotMade(_)
            | Self::NotSealed(_)
            | Self::Keyserver(_)
            | Self::Elsewhere { .. }
            | Self::NoSecret { .. } => false,
        };
        Failure::new(if busy { Code::Busy } else { code }).cause(self)
    }
}

/// Finds the first of the stored root's keys for the role that the service holds.
async fn in_use(app: &App, gun: &Gun, role: ServiceRole) -> Result<Option<PublicKey>, Failure> {
    let Some(root) = app.metadata.current(gun, &RoleName::Root).await? else { return Ok(None) };
    for id in key_ids(&root.bytes, role) {
        if let Some(key) = app.keys.held(gun, role, &id).await? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
struct Envelope {
    signed: Root,
}

#[derive(Deserialize)]
struct Root {
    roles: Roles,
}

#[derive(Deserialize)]
struct Roles {
    snapshot: Role,
    timestamp: Role,
}

#[derive(Deserialize)]
struct Role {
    keyids: Vec<String>,
}

/// Reads the ids from a root that was validated before it was stored.
pub(crate) fn key_ids(root: &[u8], role: ServiceRole) -> Vec<KeyId> {
    let Ok(Envelope { signed: Root { roles } }) = serde_json::from_slice(root) else { return Vec::new() };
    let role = match role {
        ServiceRole::Snapshot => roles.snapshot,
        ServiceRole::Timestamp => roles.timestamp,
    };
    role.keyids.iter().filter_map(|id| id.parse().ok()).collect()
}

#[derive(Serialize)]
struct Key<'a> {
    keytype: &'a str,
    keyval: Value,
}

#[derive(Serialize)]
struct Value {
    public: String,
    private: Option<()>,
}

/// Writes a key in the reference's order of members.
fn answer(key: &PublicKey) -> Answer {
    let keyval = Value { public: STANDARD.encode(key.bytes()), private: None };
    let body = Key { keytype: key.key_type().as_str(), keyval };
    answer::text(serde_json::to_vec(&body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_references() {
        let key = PublicKey::new(countersign_crypto::KeyType::Ed25519, vec![0; 3]);
        assert_eq!(&answer(&key).body()[..], br#"{"keytype":"ed25519","keyval":{"public":"AAAA","private":null}}"#);
    }
}
