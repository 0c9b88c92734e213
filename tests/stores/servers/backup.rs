//! The files of a stopped server.

use std::{path::Path, process::Command};

use tempfile::TempDir;

pub(crate) struct Backup(TempDir);

impl Backup {
    pub(crate) fn of(folder: &Path) -> Self {
        let backup = tempfile::tempdir().expect("a temporary folder");
        copy(folder, backup.path());
        // PostgreSQL's lock, which names the process that has been killed.
        let _ = std::fs::remove_file(backup.path().join("data/postmaster.pid"));
        Self(backup)
    }

    pub(crate) fn restore(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("the folder is writable");
        }
        copy(self.0.path(), folder);
    }
}

/// With owners and permissions.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.expect("there is a cp").success(), "copying the data");
}
