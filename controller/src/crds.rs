//! `pando crds`: what the hub must serve, generated from the types.

use std::path::Path;

use anyhow::Context as _;

use crate::args::CrdsArgs;
use crate::commands::terminal;

/// Prints every definition as one YAML stream, or writes one file for each into a folder.
///
/// # Errors
///
/// When stdout or the folder cannot be written.
pub(crate) fn run(args: &CrdsArgs) -> anyhow::Result<()> {
    match &args.write {
        None => print(),
        Some(folder) => write(folder),
    }
}

fn print() -> anyhow::Result<()> {
    let documents = pando_api::crds::all();
    let documents = documents.iter().map(pando_api::crds::yaml);
    let stream = documents.collect::<Vec<_>>().join("---\n");
    Ok(terminal::result(&stream)?)
}

fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for definition in pando_api::crds::all() {
        let file = folder.join(pando_api::crds::file_name(&definition));
        std::fs::write(&file, pando_api::crds::yaml(&definition))
            .with_context(|| format!("cannot write {}", file.display()))?;
        terminal::progress(format_args!("wrote {}", file.display()));
    }
    Ok(())
}
