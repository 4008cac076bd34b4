//! The crate against golden data made by the real tools, and against services that lie.


mod folder;
mod golden;
