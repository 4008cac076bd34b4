//! Asking for passphrases and consent: a person at the terminal, otherwise lines of a pipe or file.

mod input;

use crate::output;
use countersign_vault::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};
use std::fmt::Display;
use std::io::Write;
use zeroize::Zeroizing;

/// Whose manner of asking is used, and whose variables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Our own: questions go to stderr.
    Native,
    /// Docker's: questions go to stdout.
    Docker,
    /// The notary client's: questions go to stdout, and without a terminal only those that are answered.
    Notary,
}

/// Asks at the terminal; without one, takes lines from standard input as they come, for some seconds each.
#[derive(Debug)]
pub(crate) struct PersonPassphrases {
    pub(crate) voice: Voice,
}

impl PassphraseSource for PersonPassphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        if let (Some(origin), Purpose::Existing) = (request.refused(), request.purpose) {
            match origin {
                Origin::Environment(variable) => {
                    output::message(format_args!("The passphrase in {variable} does not open this key."));
                }
                Origin::Command => {
                    output::message("The passphrase of the passphrase command does not open this key.");
                }
                // Nobody has typed it for this key.
                Origin::Remembered | Origin::File => {}
                Origin::Person => self.voice.line("Passphrase incorrect. Please retry."),
            }
        }
        let id = request.key_id.map_or_else(String::new, |id| format!(" with ID {id:.7}"));
        let alias = match request.alias {
            "targets" | "snapshot" if self.voice != Voice::Notary => "repository",
            "" if request.purpose == Purpose::Existing => "encrypted",
            other => other,
        };
        let alias = output::harmless(alias);
        match request.purpose {
            Purpose::Existing => match self.ask(&format!("Enter passphrase for {alias} key{id}: ")) {
                Some(passphrase) => Reply::Passphrase(passphrase, Origin::Person),
                None => Reply::Unavailable,
            },
            Purpose::New => self.ask_new(&alias, &id),
            Purpose::Pin => match self.ask(&format!("Enter PIN for token {alias}: ")) {
                Some(pin) => Reply::Passphrase(pin, Origin::Person),
                None => Reply::Unavailable,
            },
        }
    }
}

impl PersonPassphrases {
    fn ask_new(&self, alias: &str, id: &str) -> Reply {
        if alias == "root" && input::has_person() {
            self.voice.line(ROOT_KEY_ADVICE);
        }
        let Some(first) = self.ask(&format!("Enter passphrase for new {alias} key{id}: ")) else {
            return Reply::Unavailable;
        };
        if let Err(refused) = first.check_new() {
            self.voice.line(refused);
            return Reply::Again;
        }
        let Some(second) = self.ask(&format!("Repeat passphrase for new {alias} key{id}: ")) else {
            return Reply::Unavailable;
        };
        if first.bytes() == second.bytes() {
            return Reply::Passphrase(first, Origin::Person);
        }
        self.voice.line("Passphrases do not match. Please retry.");
        Reply::Again
    }

    fn ask(&self, question: &str) -> Option<Passphrase> {
        crate::progress::hide();
        if input::has_person() {
            let typed = Zeroizing::new(rpassword::prompt_password(question).ok()?);
            return Passphrase::new(typed.trim().as_bytes().to_vec()).ok();
        }
        if self.voice != Voice::Notary {
            self.voice.ask(question);
        }
        let line = input::next_line();
        match (self.voice, &line) {
            (Voice::Notary, Some(_)) => self.voice.line(question),
            (Voice::Notary, None) => {}
            (Voice::Native | Voice::Docker, _) => self.voice.line(""),
        }
        Passphrase::new(trimmed(&line?).to_vec()).ok()
    }
}

const ROOT_KEY_ADVICE: &str = "\
A root key is about to be made. It says who owns the images you sign: choose a strong passphrase,
keep a copy of the key offline, and remember that nobody can recover either of them for you.";

impl Voice {
    /// Asks a question and hears whether the answer is yes: `y` alone as with docker (`[y/N]` is added), `y` or `yes` in any
    /// case as with notary, whose questions are given whole. Without a terminal the answer may come from a pipe; no answer
    /// within some seconds is a no.
    pub(crate) fn confirms(self, question: impl Display) -> bool {
        let asked = match self {
            Self::Native | Self::Docker => format!("{question} [y/N] "),
            Self::Notary => question.to_string(),
        };
        self.ask(asked);
        let line = input::next_line();
        if !input::has_person() && self != Self::Notary {
            self.line("");
        }
        let Some(line) = line else { return false };
        match (self, trimmed(&line)) {
            (_, b"y" | b"Y") => true,
            (Self::Notary, answer) => answer.eq_ignore_ascii_case(b"yes"),
            (Self::Native | Self::Docker, _) => false,
        }
    }

    /// Asks as [`Self::confirms`] does, but only a person at the terminal.
    pub(crate) fn person_confirms(self, question: impl Display) -> bool {
        input::has_person() && self.confirms(question)
    }

    /// Asks for a line of text; none if nobody answers.
    pub(crate) fn hears(self, question: impl Display) -> Option<Zeroizing<String>> {
        self.ask(question);
        let line = input::next_line()?;
        Some(Zeroizing::new(std::str::from_utf8(&line).ok()?.to_owned()))
    }

    /// Asks for a line that is not shown while it is typed; none if nobody answers.
    pub(crate) fn hears_secret(self, question: impl Display) -> Option<Zeroizing<String>> {
        if !input::has_person() {
            return self.hears(question);
        }
        self.ask(question);
        rpassword::read_password().ok().map(Zeroizing::new)
    }

    fn ask(self, question: impl Display) {
        self.write(format_args!("{question}"));
    }

    fn line(self, text: impl Display) {
        self.write(format_args!("{text}\n"));
    }

    /// There is nobody to tell if this fails; the question then goes unanswered.
    fn write(self, text: std::fmt::Arguments<'_>) {
        crate::progress::hide();
        match self {
            Self::Native => {
                let _ = write!(anstream::stderr().lock(), "{text}");
            }
            Self::Docker | Self::Notary => {
                let mut stdout = std::io::stdout().lock();
                let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
            }
        }
    }
}

/// Takes away white space at both ends, as the reference does with what is typed.
fn trimmed(line: &[u8]) -> &[u8] {
    std::str::from_utf8(line).map_or_else(|_| line.trim_ascii(), |text| text.trim().as_bytes())
}
