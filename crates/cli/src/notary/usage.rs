//! Usage and help texts, laid out as cobra does by default.

use crate::cobra::{Command, Flag, Found, command_list, flag_usages};
use std::fmt::Write;

/// Every command's flag that asks for help; cobra knows it only once the command is found.
pub(super) static HELP: Flag = Flag::switch("help", "help for \0").short('h');

/// Returns the usage block of a command, with its last line's end.
pub(super) fn usage(found: &Found) -> String {
    let (command, words) = (found.command(), found.words());
    let mut text = "Usage:\n".to_owned();
    let is_root = found.path.len() < 2;
    if command.children.is_empty() || is_root {
        let space = if command.arguments.is_empty() { "" } else { " " };
        let _ = writeln!(text, "  {words}{space}{} [flags]", command.arguments);
    }
    if !command.children.is_empty() {
        let list = command_list(command.children.iter());
        let _ = write!(text, "  {words} [command]\n\nAvailable Commands:\n{list}");
    }
    let _ = write!(text, "\nFlags:\n{}", local_flags(command, is_root));
    if !is_root {
        let global: Vec<&'static Flag> = found.path.iter().flat_map(|command| command.persistent).collect();
        let _ = write!(text, "\nGlobal Flags:\n{}", flag_usages(&global));
    }
    if !command.children.is_empty() {
        let _ = writeln!(text, "\nUse \"{words} [command] --help\" for more information about a command.");
    }
    text
}

/// Returns what `--help` prints, with its last line's end.
pub(super) fn help(found: &Found) -> String {
    let command = found.command();
    let about = if command.long.is_empty() { command.short } else { command.long };
    format!("{about}\n\n{}", usage(found))
}

/// Lays out a command's own flags and the one for help, whose text names the command.
fn local_flags(command: &'static Command, is_root: bool) -> String {
    let persistent = if is_root { command.persistent } else { &[] };
    let flags: Vec<&'static Flag> = command.flags.iter().chain(persistent).chain([&HELP]).collect();
    flag_usages(&flags).replace('\0', command.name)
}
