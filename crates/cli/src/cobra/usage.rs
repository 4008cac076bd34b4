//! The parts of usage texts that cobra and pflag lay out.

use super::flag::{Flag, Takes};
use super::tree::Command;
use std::fmt::Write;

/// Lays out flags in two columns, sorted by name, each line with its end.
pub(crate) fn flag_usages(flags: &[&'static Flag]) -> String {
    let mut shown: Vec<_> = flags.iter().filter(|flag| !flag.hidden).map(|flag| (head(flag), flag)).collect();
    shown.sort_by_key(|(_, flag)| flag.long);
    let width = shown.iter().map(|(head, _)| head.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (head, flag) in shown {
        let usage = flag.usage.replace('`', "").replace('\n', &format!("\n{:width$}   ", ""));
        let _ = write!(text, "{head:width$}   {usage}");
        if !flag.default.is_empty() {
            let _ = write!(text, " (default {})", flag.default);
        }
        text.push('\n');
    }
    text
}

fn head(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let quoted = flag.usage.split('`').nth(1).filter(|_| flag.usage.matches('`').count() >= 2);
    let kind = match flag.takes {
        Takes::Nothing => "",
        Takes::Value(kind) | Takes::Each(kind) | Takes::List(kind) | Takes::Optional(_, kind) => kind,
        Takes::Integer => "int",
        Takes::Integers => "ints",
    };
    let kind = quoted.unwrap_or(kind);
    let space = if kind.is_empty() { "" } else { " " };
    format!("  {short}--{}{space}{kind}", flag.long)
}

/// Lays out subcommands in two columns, each line with its end.
pub(crate) fn command_list<'c>(commands: impl Iterator<Item = &'c Command>) -> String {
    let shown: Vec<_> = commands.filter(|command| !command.hidden).collect();
    let width = shown.iter().map(|command| command.name.len()).max().unwrap_or(0).max(11);
    let mut text = String::new();
    for command in shown {
        let _ = writeln!(text, "  {:width$} {}", command.name, command.short);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stand_in_two_columns_sorted_by_name() {
        static FLAGS: [Flag; 4] = [
            Flag::switch("publish", "Auto publish").short('p'),
            Flag::value("rootkey", "string", "Root `key` file"),
            Flag::list("roles", "strings", "Delegation roles").short('r').default("targets"),
            Flag::switch("secret", "").hidden(),
        ];
        let flags: Vec<&'static Flag> = FLAGS.iter().collect();
        assert_eq!(
            flag_usages(&flags),
            "  -p, --publish         Auto publish\n  -r, --roles strings   Delegation roles (default targets)\n      --rootkey key     Root key file\n"
        );
    }
}
