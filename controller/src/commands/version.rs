//! `pando version`.

use serde_json::json;

use super::{terminal, yaml};
use crate::args::{ObjectFormat, VersionArgs};

/// The Karmada release whose API and behaviour this build follows.
const KARMADA: &str = "1.19";

/// Prints the version of this binary and of the API it speaks.
///
/// # Errors
///
/// When stdout cannot be written.
pub(crate) fn run(args: &VersionArgs) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = match args.output {
        None => format!("pando {version} (API of Karmada {KARMADA})\n"),
        Some(format) => object(&json!({"version": version, "karmadaApi": KARMADA}), format),
    };
    Ok(terminal::result(&text)?)
}

/// One object in the format asked for.
pub(crate) fn object(value: &serde_json::Value, format: ObjectFormat) -> String {
    match format {
        ObjectFormat::Json => format!("{value:#}\n"),
        ObjectFormat::Yaml => yaml::render(value),
    }
}
