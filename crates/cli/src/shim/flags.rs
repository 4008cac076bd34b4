//! Which flags docker's commands take, and which of them come with a value.
//!
//! The image is where docker finds it only if every flag is known: a flag that is not in these tables ends a command with
//! content trust on. The tables hold what the clients 20.10, 28 and 29 and their plugins buildx and compose take.

mod build;
mod compose;
mod container;
mod images;
mod service;

pub(crate) use build::BUILD;
pub(crate) use compose::{COMPOSE, COMPOSE_COMMANDS};
pub(crate) use container::CREATE;
pub(crate) use images::{PLUGIN, PULL, PUSH};
pub(crate) use service::{SERVICE_CREATE, SERVICE_UPDATE};

use crate::cobra::Flag;

const fn switch(name: &'static str) -> Flag {
    Flag::switch(name, "")
}

const fn value(name: &'static str) -> Flag {
    Flag::value(name, "string", "")
}

/// The flag that every command has; only `docker run` and `docker create` have another meaning for its letter.
pub(crate) static HELP: [Flag; 1] = [switch("help").short('h')];
/// The same without the letter.
pub(crate) static HELP_LONG: [Flag; 1] = [switch("help")];

/// Flags before the command.
pub(crate) static GLOBAL: [Flag; 12] = [
    value("config"),
    value("context").short('c'),
    switch("debug").short('D'),
    value("host").short('H'),
    value("log-level").short('l'),
    switch("tls"),
    value("tlscacert"),
    value("tlscert"),
    value("tlskey"),
    switch("tlsverify"),
    switch("version").short('v'),
    switch("help").short('h'),
];

/// Flags of `docker buildx` before its command.
pub(crate) static BUILDX: [Flag; 3] = [value("builder"), switch("debug").short('D'), switch("help").short('h')];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_has_a_name_or_a_letter_twice() {
        let tables: [&[Flag]; 10] =
            [&CREATE, &BUILD, &PUSH, &PULL, &PLUGIN, &SERVICE_CREATE, &SERVICE_UPDATE, &GLOBAL, &BUILDX, &COMPOSE];
        for table in tables {
            for (at, flag) in table.iter().enumerate() {
                let same =
                    |other: &Flag| other.long == flag.long || (flag.short.is_some() && other.short == flag.short);
                assert!(!table.iter().skip(at + 1).any(same), "{}", flag.long);
            }
        }
    }
}
