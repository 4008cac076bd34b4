//! The real tools and where to get them.

use std::path::{Path, PathBuf};

/// A program that tests run for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    name: &'static str,
    places: &'static [&'static str],
    source: &'static str,
}

impl Tool {
    /// The registry of the distribution project.
    pub const DOCKER_REGISTRY: Self = Self::new("docker-registry", &["/usr/bin"], "Debian package docker-registry");
    /// The engine.
    pub const DOCKERD: Self = Self::new("dockerd", &["/usr/sbin", "/usr/bin"], "Debian package docker.io");
    /// The docker client 20.10 of Debian 12.
    pub const DOCKER_20: Self = Self::new("docker", &["/usr/bin"], "Debian package docker.io (20.10)");
    /// The last docker client with content trust built in.
    pub const DOCKER_28: Self = Self::new(
        "docker",
        &["/usr/local/bin"],
        "docker 28.2.2 from https://download.docker.com/linux/static/stable, to be put into /usr/local/bin",
    );
    /// The reference command line client.
    pub const NOTARY: Self = Self::new("notary", &["/usr/bin"], "Debian package notary (0.7)");
    /// What reads and writes OpenPGP.
    pub const GPG: Self = Self::new("gpg", &["/usr/bin"], "Debian package gnupg");
    /// The database server `MariaDB`.
    pub const MARIADBD: Self = Self::new("mariadbd", &["/usr/sbin"], "Debian package mariadb-server");
    /// Its client.
    pub const MARIADB: Self = Self::new("mariadb", &["/usr/bin"], "Debian package mariadb-server");
    /// What makes its files.
    pub(crate) const MARIADB_INSTALL: Self =
        Self::new("mariadb-install-db", &["/usr/bin"], "Debian package mariadb-server");
    /// Ends the agents of gpg.
    pub(crate) const GPGCONF: Self = Self::new("gpgconf", &["/usr/bin"], "Debian package gnupg");
    /// Sets up tokens of `SoftHSM`.
    pub(crate) const SOFTHSM2_UTIL: Self = Self::new("softhsm2-util", &["/usr/bin"], "Debian package softhsm2");
    /// Ends a tool when the thread that started it is gone.
    pub(crate) const SETPRIV: Self = Self::new("setpriv", &["/usr/bin", "/bin"], "Debian package util-linux");
    /// Gives a program a view of the disks of its own.
    pub(crate) const UNSHARE: Self = Self::new("unshare", &["/usr/bin", "/bin"], "Debian package util-linux");
    /// Starts a program with such a view.
    pub(crate) const NSENTER: Self = Self::new("nsenter", &["/usr/bin", "/bin"], "Debian package util-linux");

    const fn new(name: &'static str, places: &'static [&'static str], source: &'static str) -> Self {
        Self { name, places, source }
    }

    /// The program's file name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Finds the program; panics with where to get it when it is not installed.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.find().unwrap_or_else(|| {
            panic!("this test needs {} in {}: install {}", self.name, self.places.join(" or "), self.source)
        })
    }

    /// Tells whether the machine has the program.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.find().is_some()
    }

    fn find(self) -> Option<PathBuf> {
        self.places.iter().map(|place| Path::new(place).join(self.name)).find(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::Tool;

    #[test]
    #[should_panic(expected = "install Debian package no-such-package")]
    fn a_missing_tool_names_its_package() {
        let _ = Tool::new("no-such-tool", &["/usr/bin"], "Debian package no-such-package").path();
    }
}
