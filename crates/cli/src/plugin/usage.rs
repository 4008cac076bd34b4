//! Docker's help and usage texts.

use crate::cobra::{Found, command_list, flag_usages};
use std::fmt::Write;

/// The help of a command.
pub(super) fn help(found: &Found) -> String {
    let command = found.command();
    let mut text = format!("Usage:  {}\n\n{}\n", line(found), command.short);
    let flags: Vec<_> = found.flags().into_iter().filter(|flag| !flag.hidden).collect();
    if !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{}", flag_usages(&flags));
    }
    let of_kind =
        |management: bool| command.children.iter().filter(move |child| child.children.is_empty() != management);
    if of_kind(true).next().is_some() {
        let _ = write!(text, "\nManagement Commands:\n{}", command_list(of_kind(true)));
    }
    if of_kind(false).next().is_some() {
        let _ = write!(text, "\nCommands:\n{}", command_list(of_kind(false)));
    }
    if !command.children.is_empty() {
        let _ = writeln!(text, "\nRun '{} COMMAND --help' for more information on a command.", found.words());
    }
    text
}

/// What is said when the flags or arguments are wrong.
pub(super) fn wrong(error: &str, found: &Found, pointer: &str) -> String {
    let usage = if found.command().children.is_empty() { line(found) } else { found.words() };
    format!("{error}\n\nUsage:  {usage}\n\n{pointer} '{} --help' for more information\n", found.words())
}

fn line(found: &Found) -> String {
    format!("{} {}", found.words(), found.command().arguments)
}
