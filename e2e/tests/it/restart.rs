//! A controller that starts again where nothing has changed writes nothing.

use anyhow::{Result, ensure};
use pando_e2e::audit;

use crate::budget::{log, marks, pando, quiet};
use crate::split::founded;
use crate::world::World;

pub(crate) async fn a_killed_controller_starts_again_without_a_write(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    founded(federation, "restart").await?;
    quiet(federation).await?;
    let before = marks(federation)?;
    federation.controller().kill().await?;
    federation.start_controller().await?;
    // Ready, and then at rest for a while: everything was looked at again.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    quiet(federation).await?;
    for (cluster, mark) in before {
        let user = pando(cluster, federation);
        let writes = log(cluster)?.writes_since(mark, |by| by == user)?;
        ensure!(
            writes.is_empty(),
            "writes in {}:\n{}",
            cluster.name,
            audit::print(&writes)
        );
    }
    Ok(())
}
