//! The client's configuration file (Notary protocol, client configuration).

use super::failure::Failure;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Largest configuration file in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// The file in the default trust directory.
const NAME: &str = "config.json";
/// The default trust directory, in the home directory.
const HOME: &str = ".notary";

/// What the file says; paths are as they count from here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) trust_dir: Option<PathBuf>,
    pub(super) url: Option<String>,
    pub(super) root_ca: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) skip_tls_verify: bool,
    /// Kept as it came: only who uses pins needs to hear what is wrong with them.
    pinning: Map<String, Value>,
}

/// The pins of the file; names keep their case, which the reference's Debian build loses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pins {
    /// Names, or beginnings of names with `*`, and the root key ids they are pinned to.
    pub(super) certificates: Vec<(String, Vec<String>)>,
    /// Beginnings of names, and the file of authorities they are pinned to, relative to the working directory.
    pub(super) authorities: Vec<(String, PathBuf)>,
    pub(super) no_first_use: bool,
}

impl Config {
    /// Reads the named file, which has to be there, or the default one, which need not.
    pub(super) fn read(named: Option<&str>) -> Result<Self, Failure> {
        let path = match named {
            Some(name) => PathBuf::from(name),
            None => match default_trust_dir() {
                Ok(folder) => folder.join(NAME),
                Err(_) => return Ok(Self::default()),
            },
        };
        let shown = path.display();
        let failed = |reason: &dyn std::fmt::Display| Failure::local(format!("error opening config file: {reason}"));
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(Self::default()),
            Err(error) => return Err(failed(&format_args!("open {shown}: {}", super::input::reason(&error)))),
            Ok(metadata) if metadata.len() > MAX_BYTES || !metadata.is_file() => {
                return Err(failed(&format_args!("{shown} is no configuration file")));
            }
            Ok(_) => {}
        }
        let text = std::fs::read(&path).map_err(|error| failed(&format_args!("open {shown}: {error}")))?;
        let value =
            serde_json::from_slice(&text).map_err(|error| failed(&format_args!("While parsing config: {error}")))?;
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self::of(&value, &folder)
    }

    /// Reads the pins.
    pub(super) fn pins(&self) -> Result<Pins, Failure> {
        Pins::of(&self.pinning)
    }

    /// Takes the file's content; `folder` is where it lies.
    fn of(value: &Value, folder: &Path) -> Result<Self, Failure> {
        let Value::Object(top) = value else {
            return Err(Failure::local("error opening config file: While parsing config: not an object"));
        };
        let server = section(top, "remote_server")?;
        let file = |key| Ok::<_, Failure>(text(&server, "remote_server", key)?.map(|name| folder.join(name)));
        Ok(Self {
            trust_dir: text(top, "", "trust_dir")?.map(|name| expanded(&name)).transpose()?,
            url: text(&server, "remote_server", "url")?,
            root_ca: file("root_ca")?,
            client_certificate: file("tls_client_cert")?,
            client_key: file("tls_client_key")?,
            skip_tls_verify: switch(&server, "remote_server", "skipTLSVerify")?,
            pinning: section(top, "trust_pinning")?,
        })
    }
}

impl Pins {
    fn of(section: &Map<String, Value>) -> Result<Self, Failure> {
        let wrong = |key| Failure::local(format!("invalid format for trust_pinning.{key}"));
        let mut pins = Self { no_first_use: switch(section, "trust_pinning", "disable_tofu")?, ..Self::default() };
        match member(section, "certs") {
            None | Some(Value::Null) => {}
            Some(Value::Object(certs)) => {
                for (name, ids) in certs {
                    let Value::Array(ids) = ids else { return Err(wrong("certs")) };
                    let ids: Option<Vec<String>> = ids.iter().map(|id| Some(id.as_str()?.to_owned())).collect();
                    pins.certificates.push((name.clone(), ids.ok_or_else(|| wrong("certs"))?));
                }
            }
            Some(_) => return Err(wrong("certs")),
        }
        match member(section, "ca") {
            None | Some(Value::Null) => {}
            Some(Value::Object(authorities)) => {
                for (name, file) in authorities {
                    pins.authorities.push((name.clone(), file.as_str().ok_or_else(|| wrong("ca"))?.into()));
                }
            }
            Some(_) => return Err(wrong("ca")),
        }
        Ok(pins)
    }
}

/// Returns the trust directory of those who name none.
pub(super) fn default_trust_dir() -> Result<PathBuf, Failure> {
    home().map(|home| home.join(HOME))
}

fn home() -> Result<PathBuf, Failure> {
    etcetera::home_dir()
        .map_err(|_| Failure::local("cannot find current user home directory: name a trust directory with -d"))
}

/// Replaces a leading `~/` by the home directory.
pub(super) fn expanded(name: &str) -> Result<PathBuf, Failure> {
    match name.strip_prefix("~/") {
        Some(below) => Ok(home()?.join(below)),
        None => Ok(name.into()),
    }
}

/// Finds a member whose name the reference reads in any case.
fn member<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

fn section(top: &Map<String, Value>, key: &str) -> Result<Map<String, Value>, Failure> {
    match member(top, key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Failure::local(format!("invalid format for {key}"))),
    }
}

fn text(object: &Map<String, Value>, of: &str, key: &str) -> Result<Option<String>, Failure> {
    match member(object, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(of, key)),
    }
}

fn switch(object: &Map<String, Value>, of: &str, key: &str) -> Result<bool, Failure> {
    match member(object, key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(text)) => text.to_ascii_lowercase().parse().map_err(|_| invalid(of, key)),
        Some(_) => Err(invalid(of, key)),
    }
}

fn invalid(of: &str, key: &str) -> Failure {
    let dot = if of.is_empty() { "" } else { "." };
    Failure::local(format!("invalid format for {of}{dot}{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Config, Failure> {
        Config::of(&serde_json::from_str(text).unwrap(), Path::new("/etc/notary"))
    }

    #[test]
    fn certificates_are_relative_to_the_file_and_the_rest_to_the_working_directory() {
        let config = of(
            r#"{"trust_dir":"trust","remote_server":{"url":"https://h:1","root_ca":"ca.pem","tls_client_cert":"/c.pem","tls_client_key":"k.pem","skiptlsverify":true},
               "trust_pinning":{"certs":{"H/App*":["aa","bb"]},"ca":{"h/":"ca.pem"},"disable_tofu":true}}"#,
        )
        .unwrap();
        assert_eq!(config.trust_dir, Some("trust".into()));
        assert_eq!(config.root_ca, Some("/etc/notary/ca.pem".into()));
        assert_eq!(
            (config.client_certificate, config.client_key),
            (Some("/c.pem".into()), Some("/etc/notary/k.pem".into()))
        );
        let pins = Pins::of(&config.pinning).unwrap();
        assert!(config.skip_tls_verify && pins.no_first_use);
        assert_eq!(pins.certificates, [("H/App*".to_owned(), vec!["aa".to_owned(), "bb".to_owned()])]);
        assert_eq!(pins.authorities, [("h/".to_owned(), "ca.pem".into())]);
    }

    #[test]
    fn what_is_shaped_otherwise_is_refused_and_never_passed_over() {
        for (text, wrong) in [
            (r#"{"trust_pinning":{"certs":{"a":"b"}}}"#, "invalid format for trust_pinning.certs"),
            (r#"{"trust_pinning":{"certs":{"a":[1]}}}"#, "invalid format for trust_pinning.certs"),
            (r#"{"trust_pinning":{"certs":[]}}"#, "invalid format for trust_pinning.certs"),
            (r#"{"trust_pinning":{"ca":{"a":1}}}"#, "invalid format for trust_pinning.ca"),
            (r#"{"trust_pinning":{"disable_tofu":"perhaps"}}"#, "invalid format for trust_pinning.disable_tofu"),
            (r#"{"trust_pinning":true}"#, "invalid format for trust_pinning"),
            (r#"{"trust_dir":1}"#, "invalid format for trust_dir"),
        ] {
            let refused = of(text).and_then(|config| config.pins()).unwrap_err();
            assert!(format!("{refused:?}").contains(wrong), "{text}");
        }
        assert_eq!(of("{}").unwrap(), Config::default());
    }
}
