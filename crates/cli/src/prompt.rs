//! Asking a person for passphrases and consent, only at a terminal.

use crate::output;
use countersign_vault::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};
use std::io::{BufRead, IsTerminal};
use zeroize::Zeroizing;

/// Asks at the terminal; where there is none, there is no passphrase.
#[derive(Debug)]
pub(crate) struct TerminalPassphrases;

impl PassphraseSource for TerminalPassphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        if !std::io::stdin().is_terminal() {
            return Reply::Unavailable;
        }
        if let (Some(origin), Purpose::Existing) = (&request.refused, request.purpose) {
            match origin {
                Origin::Environment(variable) => {
                    output::message(format_args!("The passphrase in {variable} does not open this key."));
                }
                _ => output::message("Passphrase incorrect. Please retry."),
            }
        }
        let id = request.key_id.map_or_else(String::new, |id| format!(" with ID {id:.7}"));
        let alias = match request.alias {
            "targets" | "snapshot" => "repository",
            other => other,
        };
        match request.purpose {
            Purpose::Existing => match ask(&format!("Enter passphrase for {alias} key{id}: ")) {
                Some(passphrase) => Reply::Passphrase(passphrase, Origin::Person),
                None => Reply::Unavailable,
            },
            Purpose::New => ask_new(alias, &id),
        }
    }
}

fn ask_new(alias: &str, id: &str) -> Reply {
    if alias == "root" {
        output::message(
            "A root key is about to be made. It says who owns the images you sign: choose a strong passphrase,",
        );
        output::message("keep a copy of the key offline, and remember that nobody can recover either of them for you.");
    }
    let Some(first) = ask(&format!("Enter passphrase for new {alias} key{id}: ")) else { return Reply::Unavailable };
    if let Err(refused) = first.check_new() {
        output::message(refused);
        return Reply::Again;
    }
    let Some(second) = ask(&format!("Repeat passphrase for new {alias} key{id}: ")) else { return Reply::Unavailable };
    if first.bytes() == second.bytes() {
        return Reply::Passphrase(first, Origin::Person);
    }
    output::message("Passphrases do not match. Please retry.");
    Reply::Again
}

fn ask(prompt: &str) -> Option<Passphrase> {
    let typed = Zeroizing::new(rpassword::prompt_password(prompt).ok()?);
    Passphrase::new(typed.trim().as_bytes().to_vec()).ok()
}

/// Asks a question that only `y` or `Y` answers with yes.
pub(crate) fn confirm(question: &str) -> bool {
    output::message(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y")
}
