//! Where the checkout is, and who works in a folder of it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The root of the checkout: the folder above this package.
///
/// Cargo says where the package is when it runs a program; a binary that is started by hand
/// falls back to where it was compiled.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.join("tools").is_dir())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// `path` as a person in the current folder would type it.
pub fn display(path: &Path) -> String {
    let relative = std::env::current_dir().ok().and_then(|cwd| path.strip_prefix(cwd).ok().map(Path::to_path_buf));
    relative.unwrap_or_else(|| path.to_path_buf()).display().to_string()
}

/// Keeps a second command out of `home` for as long as the file lives.
///
/// # Errors
/// `busy`, a line for people, when somebody has the folder; else what is wrong with the file.
pub fn lock(home: &Path, busy: &str) -> Result<File> {
    let path = home.join(".lock");
    let open = || -> std::io::Result<File> {
        std::fs::create_dir_all(home)?;
        File::create(&path)
    };
    let file = open().with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("{busy}"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}
