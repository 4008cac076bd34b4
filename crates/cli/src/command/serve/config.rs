//! `countersign serve config`: what the settings say, without serving.

use super::Flags;
use super::settled::{Origin, Row, Settled};
use crate::command::Format;
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use clap::{Args, Subcommand};
use serde_json::json;

/// Look at the settings without serving
#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// Say whether the service could start with these settings and the files they name
    Check(Check),
    /// Say what counts, and which option, line or default says so
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    flags: Flags,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Look {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Check(check) => check.run(),
            Self::Explain(explain) => explain.run(),
        }
    }
}

impl Check {
    fn run(&self) -> Result<(), CliError> {
        let settled = Settled::of(&self.flags)?;
        settled.config.check().map_err(|error| CliError::new(Kind::Local, super::chain(&error)))?;
        match &settled.file {
            Some(file) => message(format_args!("{} is understood, and the files it names can be used", file.display())),
            None => message("there is no settings file: options and defaults count"),
        }
        Ok(())
    }
}

impl Explain {
    fn run(&self) -> Result<(), CliError> {
        let settled = Settled::of(&self.flags)?;
        let file = settled.file.as_ref().map(|file| file.display().to_string());
        match self.format {
            Format::Json => {
                let rows = settled.rows.iter().map(|Row { key, value, from }| {
                    let (from, line) = match from {
                        Origin::Default => ("default", None),
                        Origin::Option(name) => (*name, None),
                        Origin::Line(line) => ("file", Some(line)),
                    };
                    json!({"key": key, "value": value, "from": from, "line": line})
                });
                data(json!({"file": file, "settings": rows.collect::<Vec<_>>()}))
            }
            Format::Text => {
                data(format_args!("# {}", file.as_deref().unwrap_or("no settings file")))?;
                let width = settled.rows.iter().map(|row| row.key.len()).max().unwrap_or_default();
                settled.rows.iter().try_for_each(|Row { key, value, from }| {
                    let from = match from {
                        Origin::Default => "default".to_owned(),
                        Origin::Option(name) => (*name).to_owned(),
                        Origin::Line(line) => format!("line {line}"),
                    };
                    data(format_args!("{key:width$}  {value}  ({from})"))
                })
            }
        }
    }
}
