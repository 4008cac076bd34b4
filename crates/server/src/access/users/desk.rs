//! Where clients come with their passwords: `/auth/token`.
//!
//! docker and notary ask for a token where they are sent by a `Bearer` challenge, and take one for whoever has no account.
//! Sent to a `Basic` challenge, notary does not even try to read, and nobody reads without an account: so there is a desk.
//! What it gives out says the same as the password did, and is looked at in the same way with each request. There is
//! nothing to sign it with, and so nothing that several services would have to share; it ends where the password ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use zeroize::Zeroizing;

use crate::query;

use super::super::Action;
use super::super::proof::Account;
use countersign_tuf::Gun;

/// What it is called in challenges.
pub(in crate::access) const SERVICE: &str = "countersign";
/// What whoever has no account gets; no account looks like it, because it has no such length in base64.
const NOBODY: &str = "anonymous";
/// How long clients use what they got, in seconds; what it is worth is decided with each request.
const LIFETIME: u32 = 300;
/// Most scopes of one request that are looked at.
const MAX_SCOPES: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) gun: Gun,
    pub(super) action: Action,
}

/// Reads what the client wants to do; what is not understood is left out, because only requests are decided about.
pub(super) fn wishes(parameters: &str) -> Vec<Wish> {
    let scopes = query::values(parameters, "scope").take(MAX_SCOPES);
    scopes.filter_map(|scope| wish(&scope)).collect()
}

fn wish(scope: &str) -> Option<Wish> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    // `*` is what notary says for everything that could need it: whether it does is seen then.
    let action = if actions.split(',').all(|action| action == "pull") { Action::Pull } else { Action::Push };
    (kind == "repository").then_some(())?;
    Some(Wish { gun: Gun::parse(name).ok()?, action })
}

/// Makes the answer for somebody, or for nobody in particular.
pub(super) fn answer(account: Option<&Account>) -> String {
    let token = account.map_or_else(|| Zeroizing::new(NOBODY.to_owned()), write);
    json!({"token": *token, "access_token": *token, "expires_in": LIFETIME}).to_string()
}

fn write(account: &Account) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{}:{}", account.name, *account.password));
    Zeroizing::new(URL_SAFE_NO_PAD.encode(pair.as_bytes()))
}

/// Reads what was given out: an account, or nobody's.
pub(super) fn read(token: &str) -> Result<Option<Account>, NoToken> {
    if token == NOBODY {
        return Ok(None);
    }
    let pair = Zeroizing::new(URL_SAFE_NO_PAD.decode(token).map_err(|_| NoToken)?);
    Account::parse(&pair).map(Some).ok_or(NoToken)
}

/// Says that something was not given out at the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoToken;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_is_read_again() {
        let alice = Account::parse(b"alice:pass:word").unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer(Some(&alice))).unwrap();
        let token = answer["token"].as_str().unwrap();
        assert_eq!(read(token).unwrap().unwrap(), alice);
        assert_eq!((answer["access_token"].as_str(), answer["expires_in"].as_u64()), (Some(token), Some(300)));
        let nobody: serde_json::Value = serde_json::from_str(&super::answer(None)).unwrap();
        assert_eq!(read(nobody["token"].as_str().unwrap()), Ok(None));
        for wrong in ["", "Anonymous", "a.b.c", "YWxpY2U", "!!!!"] {
            assert_eq!(read(wrong), Err(NoToken), "{wrong}");
        }
    }

    #[test]
    fn wishes_are_read_from_scopes() {
        let read = |scope: &str| wishes(&format!("service=countersign&scope={scope}"));
        let wish = |name: &str, action| Wish { gun: Gun::parse(name).unwrap(), action };
        assert_eq!(read("repository:r.test:5000/a/b:pull"), [wish("r.test:5000/a/b", Action::Pull)]);
        assert_eq!(read("repository%3Aa%2Fb%3Apush%2Cpull"), [wish("a/b", Action::Push)]);
        assert_eq!(read("repository:a/b:*"), [wish("a/b", Action::Push)]);
        assert_eq!(wishes("scope=repository:a:pull&scope=repository:b:push").len(), 2);
        for nothing in ["", "repository", "repository:a", "registry:catalog:*", "repository:/a:pull"] {
            assert_eq!(read(nothing), [], "{nothing}");
        }
        assert_eq!(wishes(&"scope=repository:a:pull&".repeat(100)).len(), MAX_SCOPES);
    }
}
