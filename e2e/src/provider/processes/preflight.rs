//! What the machine must offer.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::progress::Progress;

/// Each component watches its certificate files: a hub and three members need over 128 instances.
const INOTIFY_WANTED: u64 = 1024;
const INOTIFY_NEEDED: u64 = 256;
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Bytes that etcd's data and the logs of a hub and three members may take.
const DATA_BYTES: u64 = 1 << 30;

/// Checks the machine's limits, and raises them where it may.
pub(super) fn check(progress: &Progress) -> Result<()> {
    let read = || std::fs::read_to_string(INOTIFY).ok()?.trim().parse::<u64>().ok();
    let Some(instances) = read() else {
        return Ok(()); // Not Linux: no such limit.
    };
    if instances >= INOTIFY_WANTED || std::fs::write(INOTIFY, INOTIFY_WANTED.to_string()).is_ok() {
        return Ok(());
    }
    let raise = format!("`sudo sysctl fs.inotify.max_user_instances={INOTIFY_WANTED}`");
    if instances < INOTIFY_NEEDED {
        bail!(
            "fs.inotify.max_user_instances is {instances}, too few for the clusters' processes; raise it with {raise}"
        );
    }
    progress.say(format_args!(
        "note: fs.inotify.max_user_instances is {instances}; if a process says `too many open files`, {raise}"
    ));
    Ok(())
}

/// A folder of our own for etcd's data: in memory where there is room, else under `home`.
pub(super) fn data_folder(home: &Path) -> Result<PathBuf> {
    let shared_memory = Path::new("/dev/shm");
    let in_memory = shared_memory.is_dir() && free_bytes(shared_memory) >= DATA_BYTES;
    let folder = if in_memory {
        let home = std::path::absolute(home)?;
        let hash = xxhash_rust::xxh3::xxh3_64(home.as_os_str().as_encoded_bytes());
        shared_memory.join(format!("pando-{hash:016x}-{}", std::process::id()))
    } else {
        home.join("data")
    };
    // The home may not exist yet; its parents do.
    let on_disk = home.ancestors().find(|dir| dir.is_dir()).map_or(0, free_bytes);
    if on_disk < DATA_BYTES / 4 {
        bail!(
            "the disk is full: {} has {} MB free, logs and data need {} MB",
            home.display(),
            on_disk >> 20,
            DATA_BYTES >> 22
        );
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}
