//! Who may do what, as the settings file says it.

use super::document::{At, path};
use crate::settings::{Reader, SettingsError};
use countersign_server::{Access, Allowance, ClientCertificates, Demand, OwnHost, Reading, TokenAccess, UserAccess};
use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

/// `[access]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AccessTable {
    tokens: Option<Spanned<Tokens>>,
    passwords: Option<Spanned<String>>,
    realm: Option<Spanned<String>>,
    rules: Option<Spanned<String>>,
    #[serde(default)]
    allow: Vec<Spanned<Allowance>>,
    #[serde(default)]
    anonymous_read: bool,
    certificates: Option<Spanned<Certificates>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Tokens {
    realm: String,
    service: String,
    issuer: String,
    certificates: Option<Spanned<String>>,
    keys: Option<Spanned<String>>,
    #[serde(default)]
    own_host: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Certificates {
    authority: Spanned<String>,
    revoked: Option<Spanned<String>>,
    #[serde(default = "yes")]
    required: bool,
}

fn yes() -> bool {
    true
}

/// What the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) access: Access,
    pub(super) certificates: Option<At<ClientCertificates>>,
}

/// Reads the table; what would let in nobody, or decide nothing, is refused.
pub(super) fn decide(reader: &Reader<'_>, table: &Spanned<AccessTable>) -> Result<At<Decided>, SettingsError> {
    let line = reader.line(&table.span());
    let said = table.get_ref();
    let certificates = said.certificates.as_ref().map(|clients| certificates(reader, clients)).transpose()?;
    let access = match &said.tokens {
        Some(tokens) => {
            only_tokens(reader, said)?;
            Access::Tokens(self::tokens(reader, tokens, reading(said))?)
        }
        None => Access::Users(users(reader, table)?),
    };
    Ok(At { value: Decided { access, certificates }, line })
}

fn reading(said: &AccessTable) -> Reading {
    if said.anonymous_read { Reading::Everybody } else { Reading::Allowed }
}

fn file(reader: &Reader<'_>, value: Option<&Spanned<String>>, key: &str) -> Result<Option<PathBuf>, SettingsError> {
    Ok(value.map(|text| path(reader, text, key)).transpose()?.map(|found| found.value))
}

/// With tokens, their service decides who may do what.
fn only_tokens(reader: &Reader<'_>, said: &AccessTable) -> Result<(), SettingsError> {
    let reason = "the service of the tokens decides about this: leave it out, or [access.tokens]";
    for (key, value) in [("passwords", &said.passwords), ("realm", &said.realm), ("rules", &said.rules)] {
        if let Some(value) = value {
            return Err(reader.refuse(value, key, reason));
        }
    }
    if let Some(rule) = said.allow.first() {
        return Err(reader.refuse(rule, "allow", reason));
    }
    match &said.certificates {
        Some(clients) if !clients.get_ref().required => {
            let reason =
                "with tokens, a certificate that clients may leave out decides nothing: require it, or leave it out";
            Err(reader.refuse(clients, "access.certificates", reason))
        }
        _ => Ok(()),
    }
}

fn tokens(reader: &Reader<'_>, tokens: &Spanned<Tokens>, reading: Reading) -> Result<TokenAccess, SettingsError> {
    let Tokens { realm, service, issuer, certificates, keys, own_host } = tokens.get_ref();
    if certificates.is_none() && keys.is_none() {
        let reason = "tokens need certificates or keys that their signatures can be checked with";
        return Err(reader.refuse(tokens, "access.tokens", reason));
    }
    Ok(TokenAccess {
        realm: realm.clone(),
        service: service.clone(),
        issuer: issuer.clone(),
        certificates: file(reader, certificates.as_ref(), "certificates")?,
        keys: file(reader, keys.as_ref(), "keys")?,
        own_host: if *own_host { OwnHost::Yes } else { OwnHost::No },
        reading,
    })
}

fn users(reader: &Reader<'_>, table: &Spanned<AccessTable>) -> Result<UserAccess, SettingsError> {
    let said = table.get_ref();
    if said.passwords.is_none() && said.certificates.is_none() {
        let reason = "nobody could be let in: name passwords, [access.certificates] or [access.tokens], or leave [access] \
                      out, and whoever reaches the port may do everything";
        return Err(reader.refuse(table, "access", reason));
    }
    if let (Some(realm), None) = (&said.realm, &said.passwords) {
        return Err(reader.refuse(realm, "realm", "clients are sent there with passwords, and there are none"));
    }
    Ok(UserAccess {
        passwords: file(reader, said.passwords.as_ref(), "passwords")?,
        realm: said.realm.as_ref().map(|realm| realm.get_ref().clone()),
        reading: reading(said),
        allow: said.allow.iter().map(|rule| rule.get_ref().clone()).collect(),
        rules: file(reader, said.rules.as_ref(), "rules")?,
    })
}

fn certificates(reader: &Reader<'_>, table: &Spanned<Certificates>) -> Result<At<ClientCertificates>, SettingsError> {
    let Certificates { authority, revoked, required } = table.get_ref();
    let value = ClientCertificates {
        authority: path(reader, authority, "authority")?.value,
        revoked: file(reader, revoked.as_ref(), "revoked")?,
        demand: if *required { Demand::Required } else { Demand::Optional },
    };
    Ok(At { value, line: reader.line(&table.span()) })
}

/// Says who is let in, in a few words.
pub(super) fn describe(access: &Access) -> String {
    let also = |reading| if reading == Reading::Everybody { "; everybody may read" } else { "" };
    match access {
        Access::Tokens(tokens) => {
            let TokenAccess { realm, service, issuer, reading, .. } = tokens;
            format!("tokens of {issuer:?} for {service:?} from {realm}{}", also(*reading))
        }
        Access::Users(users) => {
            let who = match &users.passwords {
                Some(file) => format!("users of {}", file.display()),
                None => "users with certificates".to_owned(),
            };
            format!("{who}{}", also(users.reading))
        }
        _ => "open: whoever reaches the port may read, publish and delete".to_owned(),
    }
}

/// Says what users may do, in a few words; nothing where others decide about it.
pub(super) fn describe_rules(access: &Access) -> Option<String> {
    let Access::Users(UserAccess { allow, rules, .. }) = access else { return None };
    Some(match (allow.len(), rules) {
        (0, None) => "none: whoever has a name may do everything".to_owned(),
        (0, Some(file)) => format!("those in {}", file.display()),
        (number, None) => format!("{number} in this file"),
        (number, Some(file)) => format!("{number} in this file, and those in {}", file.display()),
    })
}

/// Says which certificates clients show, in a few words.
pub(super) fn describe_certificates(clients: &ClientCertificates) -> String {
    let demand = match clients.demand {
        Demand::Required => "required",
        Demand::Optional => "optional",
    };
    let revoked = clients.revoked.as_ref().map(|file| format!(", but those in {}", file.display()));
    format!("{demand}, signed by {}{}", clients.authority.display(), revoked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_server::Right;
    use std::path::Path;

    #[derive(Deserialize)]
    struct Whole {
        access: Spanned<AccessTable>,
    }

    fn said(text: &str) -> Result<Decided, SettingsError> {
        let reader = Reader::of(Path::new("/s/serve.toml"), text);
        let whole: Whole = reader.parse()?;
        Ok(decide(&reader, &whole.access)?.value)
    }

    #[test]
    fn every_key_is_read() {
        let decided = said(
            "[access]\npasswords = \"htpasswd\"\nrealm = \"https://t.test/auth/token\"\nrules = \"/r.toml\"\n\
             anonymous-read = true\n[[access.allow]]\nusers = [\"alice\"]\ncollections = [\"a/\"]\nright = \"publish\"\n\
             [access.certificates]\nauthority = \"ca.pem\"\nrevoked = \"crl.pem\"\nrequired = false\n",
        )
        .unwrap();
        let Access::Users(users) = &decided.access else { panic!("no users") };
        assert_eq!(users.passwords.as_deref(), Some(Path::new("/s/htpasswd")));
        assert_eq!(users.rules.as_deref(), Some(Path::new("/r.toml")));
        assert_eq!((users.reading, users.realm.as_deref()), (Reading::Everybody, Some("https://t.test/auth/token")));
        assert_eq!((users.allow.len(), users.allow[0].right), (1, Right::Publish));
        let clients = decided.certificates.unwrap();
        let expected = ClientCertificates {
            authority: "/s/ca.pem".into(),
            revoked: Some("/s/crl.pem".into()),
            demand: Demand::Optional,
        };
        assert_eq!((clients.value, clients.line), (expected, 10));
        let Access::Users(machines) = said("[access.certificates]\nauthority = \"ca.pem\"").unwrap().access else {
            panic!("no users")
        };
        assert_eq!((machines.passwords, machines.reading), (None, Reading::Allowed));
    }

    #[test]
    fn certificates_are_required_unless_something_else_is_said() {
        let decided = said("[access.certificates]\nauthority = \"ca.pem\"").unwrap();
        assert_eq!(decided.certificates.unwrap().value.demand, Demand::Required);
    }

    #[test]
    fn what_decides_nothing_or_lets_in_nobody_is_refused_by_line_and_key() {
        let tokens = "[access.tokens]\nrealm=\"r\"\nservice=\"s\"\nissuer=\"i\"\nkeys=\"k\"\n";
        for (text, line, key, part) in [
            ("[access]".to_owned(), 1, "access", "nobody could be let in"),
            ("[access]\nrules = \"r\"".to_owned(), 1, "access", "nobody could be let in"),
            ("[access]\nanonymous-read = true".to_owned(), 1, "access", "nobody could be let in"),
            ("[access]\ntoken = 1".to_owned(), 2, "token", "unknown field"),
            ("[access]\nanonymous-read = \"yes\"".to_owned(), 2, "anonymous-read", ""),
            ("[access.tokens]\nrealm = \"x\"".to_owned(), 1, "", "missing field"),
            (
                "[access.tokens]\nrealm=\"r\"\nservice=\"s\"\nissuer=\"i\"".to_owned(),
                1,
                "access.tokens",
                "certificates or keys",
            ),
            (format!("[access]\npasswords = \"p\"\n{tokens}"), 2, "passwords", "decides about this"),
            (format!("[access]\nrules = \"p\"\n{tokens}"), 2, "rules", "decides about this"),
            (format!("[[access.allow]]\nusers=[\"a\"]\nright=\"read\"\n{tokens}"), 1, "allow", "decides about this"),
            (
                format!("[access.certificates]\nauthority = \"c\"\nrequired = false\n{tokens}"),
                1,
                "access.certificates",
                "decides nothing",
            ),
            (
                "[access]\nrealm = \"r\"\n[access.certificates]\nauthority = \"c\"".to_owned(),
                2,
                "realm",
                "there are none",
            ),
            ("[access.certificates]\nrequired = true".to_owned(), 1, "", "missing field"),
            ("[[access.allow]]\nusers = [\"a\"]\nright = \"write\"".to_owned(), 3, "", "unknown variant"),
        ] {
            let told = said(&text).unwrap_err().to_string();
            assert!(told.contains(&format!("line {line}")) && told.contains(part), "{text}: {told}");
            assert!(key.is_empty() || told.contains(&format!("({key})")), "{text}: {told}");
        }
        assert!(said(&format!("[access]\nanonymous-read = true\n{tokens}")).is_ok());
        assert!(said(&format!("{tokens}[access.certificates]\nauthority = \"c\"")).is_ok());
    }

    #[test]
    fn what_counts_is_said_in_a_few_words() {
        let decided = said("[access]\npasswords = \"/p\"\nanonymous-read = true\n").unwrap();
        assert_eq!(describe(&decided.access), "users of /p; everybody may read");
        assert_eq!(describe_rules(&decided.access).unwrap(), "none: whoever has a name may do everything");
        let decided = said("[access]\nrules = \"/r\"\n[access.certificates]\nauthority = \"/c\"").unwrap();
        assert_eq!(describe(&decided.access), "users with certificates");
        assert_eq!(describe_rules(&decided.access).unwrap(), "those in /r");
        assert_eq!(describe_certificates(&decided.certificates.unwrap().value), "required, signed by /c");
    }
}
