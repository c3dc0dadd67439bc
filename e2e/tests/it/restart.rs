//! A controller that starts again where nothing has changed writes nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pando_e2e::audit;

use crate::budget::{quiet, written_by_a_restart};
use crate::split::founded;
use crate::world::World;

pub(crate) async fn a_killed_controller_starts_again_without_a_write(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    founded(federation, "restart").await?;
    quiet(federation).await?;
    for (cluster, writes) in written_by_a_restart(federation).await? {
        ensure!(writes.is_empty(), "writes in {}:\n{}", cluster.name, audit::print(&writes));
    }
    Ok(())
}

pub(crate) async fn a_controller_told_to_end_does_so_in_order(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let controller = federation.controller();
    let start = Instant::now();
    controller.terminate().await?;
    let took = start.elapsed();
    federation.start_controller().await?;
    let exit = controller.process().exit();
    ensure!(took < Duration::from_secs(5), "it took {took:?}");
    ensure!(exit.is_some_and(|status| status.success()), "exit {exit:?}");
    Ok(())
}
