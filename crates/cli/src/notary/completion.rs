//! `notary completion …`, and the questions that its scripts ask.

use super::command_line::ROOT;
use super::failure::Failure;
use super::invocation::Invocation;
use super::print;
use crate::cobra::{Completions, complete};
use std::ffi::OsString;

/// Asks for candidates with their descriptions.
const COMPLETE: &str = "__complete";
/// Asks for candidates alone.
const COMPLETE_BARE: &str = "__completeNoDesc";

/// Answers a shell that completes a word; none if none asks.
pub(super) fn answer(arguments: &[OsString]) -> Option<String> {
    let (question, words) = arguments.split_first()?;
    let completions = match question.to_str() {
        Some(COMPLETE) => complete(&ROOT, words),
        Some(COMPLETE_BARE) => {
            let Completions { candidates, files } = complete(&ROOT, words);
            let mut lines: Vec<String> = candidates.into_iter().map(|(candidate, _)| candidate).collect();
            lines.push(format!(":{}\n", if files { 0 } else { 4 }));
            return Some(lines.join("\n"));
        }
        _ => return None,
    };
    Some(format!("{completions}\n"))
}

/// Prints the script for a shell.
pub(super) fn script(invocation: &Invocation, shell: &str) -> Result<(), Failure> {
    if let Some(word) = invocation.arguments().first() {
        return Err(Failure::user(format!("unknown command {word:?} for \"notary completion {shell}\"")));
    }
    print(match shell {
        "bash" => BASH,
        "fish" => FISH,
        "powershell" => POWERSHELL,
        _ => ZSH,
    })
}

const BASH: &str = r#"# bash completion for notary
__notary_complete() {
    local line directive=0
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) directive=${line#:} ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __completeNoDesc "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [ "$directive" = 4 ] && compopt +o default
}
complete -o default -F __notary_complete notary
"#;

const ZSH: &str = r#"#compdef notary
_notary() {
    local line directive=0
    local -a found
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            :*) directive=${line#:} ;;
            *) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (( ${#found} )) && _describe notary found
    [[ $directive = 4 ]] || _files
}
compdef _notary notary
"#;

const FISH: &str = r#"# fish completion for notary
function __notary_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    $words[1] __complete $words[2..-1] "$last" 2>/dev/null | string match -v -r '^:'
end
complete -c notary -a '(__notary_complete)'
"#;

const POWERSHELL: &str = r#"# powershell completion for notary
Register-ArgumentCompleter -Native -CommandName notary -ScriptBlock {
    param($word, $ast, $position)
    $words = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($word -eq '') { $words += '""' }
    & notary __complete @words 2>$null | Where-Object { $_ -notmatch '^:' } | ForEach-Object {
        $name, $about = $_ -split "`t", 2
        if (-not $about) { $about = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $about)
    }
}
"#;
