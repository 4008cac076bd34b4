//! `notary version`: which program answers to the name.

use super::failure::Failure;
use super::print;

/// The release of the notary client whose command line this is.
const SPOKEN: &str = "0.7.0";
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Prints four lines, as the client does.
pub(super) fn run() -> Result<(), Failure> {
    print(format_args!("notary\n Version:    {SPOKEN}+countersign.{OURS}\n Git commit: \n Go version: none (Rust)\n"))
}

/// Prints the line of `notary --version`.
pub(super) fn line() -> Result<(), Failure> {
    print(format_args!("notary Version: {SPOKEN}+countersign.{OURS}, Git commit: , Go version: none (Rust)\n"))
}
