//! Running other programs.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::process::Command;

/// The cargo that runs this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Runs a program to its end with its output going where ours goes.
///
/// # Errors
/// It cannot be started, or its exit code is not 0.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", spelled(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", spelled(command));
    }
    Ok(())
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// It cannot be started, its exit code is not 0, or it did not write UTF-8.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", spelled(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", spelled(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} did not write UTF-8", spelled(command)))
}

/// The program and its arguments as a person would type them.
fn spelled(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|argument| format!(" {}", argument.to_string_lossy()));
    format!("`{program}{}`", arguments.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::{output, run};
    use std::process::Command;

    #[test]
    fn a_failure_names_the_command_and_its_exit_code() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 3` ended with exit status: 3");
    }

    #[test]
    fn output_is_returned_and_a_failure_tells_what_was_said() {
        assert_eq!(output(Command::new("echo").arg("good")).unwrap(), "good\n");
        let error = output(Command::new("sh").args(["-c", "echo bad >&2; exit 1"])).unwrap_err().to_string();
        assert!(error.ends_with(": bad"), "{error}");
    }
}
