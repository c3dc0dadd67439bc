//! The Go toolchain of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// The oldest Go that builds the pinned modules (the `go` line of their go.mod).
pub(super) const MINIMUM: &str = "1.26";

/// A usable Go toolchain.
#[derive(Clone, Debug)]
pub struct Go {
    /// The program.
    pub program: PathBuf,
    /// Its version, say `go1.26.8`.
    pub version: String,
}

impl Go {
    /// The `go` on the PATH, if there is one.
    ///
    /// # Errors
    /// When it does not run or is too old.
    pub fn find() -> Result<Option<Self>> {
        let Some(program) = process::on_path("go") else {
            return Ok(None);
        };
        let version = environment(&program, "GOVERSION")?;
        let go = Self { program, version };
        if !go.is_recent_enough() {
            bail!(
                "{} is {}, but the cluster parts need Go {MINIMUM} or newer (https://go.dev/dl)",
                go.program.display(),
                go.version
            );
        }
        Ok(Some(go))
    }

    /// One value of `go env`.
    pub(super) fn environment(&self, name: &str) -> Result<String> {
        environment(&self.program, name)
    }

    fn is_recent_enough(&self) -> bool {
        let numbers = |text: &str| -> Option<(u32, u32)> {
            let (major, rest) = text.split_once('.')?;
            let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        // A development version has no number to compare; let the compiler decide.
        let own = self.version.strip_prefix("go").and_then(numbers);
        own.is_none_or(|own| Some(own) >= numbers(MINIMUM))
    }
}

fn environment(program: &Path, name: &str) -> Result<String> {
    let output = Command::new(program)
        .args(["env", name])
        // The toolchain at hand is the one whose version names the cache; none is downloaded.
        .env("GOTOOLCHAIN", "local")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("`{} env {name}` failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_toolchains_are_refused_and_odd_versions_are_tried() {
        let recent = |version: &str| Go { program: PathBuf::new(), version: version.to_owned() }.is_recent_enough();
        assert!(!recent("go1.19.8"));
        assert!(!recent("go1.25rc1"));
        assert!(recent("go1.26.8"));
        assert!(recent("go1.26rc2"));
        assert!(recent("go2.0"));
        assert!(recent("devel +abc"));
    }
}
