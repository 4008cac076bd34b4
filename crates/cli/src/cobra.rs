//! The conventions of command lines written with Go's cobra and pflag, which docker and notary follow.
//!
//! Programs and scripts depend on their details: where flags may stand, how values are attached, what the errors say. Tables
//! of [`Flag`]s and [`Command`]s describe a program; the rest of this room reads arguments by them and prints usage.

mod complete;
mod error;
mod flag;
mod parse;
mod tree;
mod usage;

pub(crate) use complete::{Completions, complete};
pub(crate) use error::FlagError;
pub(crate) use flag::{Flag, Takes};
pub(crate) use parse::{Interspersed, Occurrence, Parsed, Positional, boolean, parse};
pub(crate) use tree::{Command, Found, find};
pub(crate) use usage::{command_list, flag_usages};
