//! A certificate authority, and a server's certificate that it has signed, made with openssl.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Makes an authority, and a certificate for `localhost`.
    pub(crate) fn new() -> Self {
        Self::with("DNS:localhost")
    }

    /// Makes an authority, and a certificate for `127.0.0.1`.
    pub(crate) fn of_address() -> Self {
        Self::with("IP:127.0.0.1")
    }

    fn with(name: &str) -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let own = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
        authority.openssl(&[&["req"], &key[..], &own[..]].concat());
        let wanted = ["-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
        authority.openssl(&[&["req"], &key[..], &wanted[..]].concat());
        let names = format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(authority.path("names"), names).expect("the folder is writable");
        authority.openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
            "-out",
            "server.pem",
        ]);
        authority
    }

    /// The certificate of the authority.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The certificate of the server.
    pub(super) fn certificate(&self) -> PathBuf {
        self.path("server.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.path("server.key")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let folder: &Path = self.folder.path();
        let ran = Command::new("openssl").args(arguments).current_dir(folder).output();
        let ran = ran.expect("openssl is missing: install the package openssl");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}
