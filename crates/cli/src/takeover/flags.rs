//! The reference's flags, in the words of Go's flag package: one or two dashes, `-name value` or `-name=value`.

use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Help,
    Version,
    Run(Flags),
}

/// The flags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) config: Option<PathBuf>,
    pub(super) bootstrap: bool,
}

/// The text for those who ask for help, or need it.
pub(super) fn usage(program: &str) -> String {
    format!(
        "usage: {program}\n\
         \x20 -bootstrap\n    \tNot supported: tables are made when the database is empty\n\
         \x20 -config string\n    \tPath to configuration file\n\
         \x20 -debug\n    \tNot supported: there is no debugging server\n\
         \x20 -logf string\n    \tThe format of the logs, json or logfmt; they are JSON either way (default \"json\")\n\
         \x20 -version\n    \tPrint the version number of {program}"
    )
}

impl Flags {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Says which of them is not understood or not supported.
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Asked, String> {
        let (mut flags, mut version) = (Self::default(), false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.into_string().map_err(|text| format!("{} is no UTF-8", text.display()))?;
            let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).filter(|flag| !flag.is_empty())
            else {
                return Err(format!("unexpected argument: {text}"));
            };
            let (name, given) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
            let mut value = |given: Option<String>| {
                let value = given.or_else(|| arguments.next()?.into_string().ok());
                value.ok_or_else(|| format!("flag needs an argument: -{name}"))
            };
            match name {
                "config" => flags.config = Some(value(given)?.into()),
                "logf" => match value(given)?.as_str() {
                    "json" | "logfmt" => {}
                    other => return Err(format!("-logf {other}: only json and logfmt are known")),
                },
                "bootstrap" => flags.bootstrap = switch(name, given.as_deref())?,
                "version" => version = switch(name, given.as_deref())?,
                "debug" if !switch(name, given.as_deref())? => {}
                "debug" => return Err("-debug is not supported: there is no debugging server".to_owned()),
                "h" | "help" => return Ok(Asked::Help),
                other => return Err(format!("flag provided but not defined: -{other}")),
            }
        }
        Ok(if version { Asked::Version } else { Asked::Run(flags) })
    }
}

fn switch(name: &str, given: Option<&str>) -> Result<bool, String> {
    match given {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid boolean value {other:?} for -{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Asked, String> {
        Flags::parse(line.iter().map(OsString::from).collect())
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let config = Asked::Run(Flags { config: Some("c.json".into()), bootstrap: false });
        for line in [
            &["-config=c.json", "-logf=json"][..],
            &["--config", "c.json", "--logf", "logfmt"],
            &["-config", "c.json", "-debug=false"],
        ] {
            assert_eq!(parse(line).unwrap(), config, "{line:?}");
        }
        assert_eq!(parse(&["-version"]).unwrap(), Asked::Version);
        assert_eq!(parse(&["-help"]).unwrap(), Asked::Help);
    }

    #[test]
    fn what_is_not_understood_or_supported_is_refused_by_name() {
        for (line, named) in [
            (&["-x"][..], "-x"),
            (&["-debug"], "-debug"),
            (&["-logf=xml"], "xml"),
            (&["-config"], "-config"),
            (&["migrate"], "migrate"),
            (&["-bootstrap=maybe"], "maybe"),
        ] {
            assert!(parse(line).unwrap_err().contains(named), "{line:?}");
        }
    }
}
