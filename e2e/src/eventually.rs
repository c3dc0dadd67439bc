//! Waiting for a condition, with a deadline and the last thing seen.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// Looks until `probe` gives `Ok(Some(value))`; an error or `Ok(None)` means not yet.
///
/// # Errors
/// After `within`: what was awaited, how long, and the last error.
pub async fn some<T, F>(within: Duration, what: &str, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let start = Instant::now();
    let mut last: Option<anyhow::Error> = None;
    loop {
        let left = within.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if start.elapsed() >= within {
            let because = last.map_or(String::new(), |error| format!("; last: {error:#}"));
            bail!("{what}: not within {within:?}{because}");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Looks until what `probe` sees equals `wanted`.
///
/// # Errors
/// After `within`: what was awaited, wanted and last seen.
pub async fn equal<T, F>(within: Duration, what: &str, wanted: &T, mut probe: impl FnMut() -> F) -> Result<()>
where
    T: PartialEq + Debug,
    F: Future<Output = Result<T>>,
{
    some(within, what, || {
        let seen = probe();
        async move {
            let seen = seen.await?;
            if seen == *wanted {
                return Ok(Some(()));
            }
            bail!("wanted {wanted:?}, saw {seen:?}")
        }
    })
    .await
}

/// Watches that what `probe` sees equals `wanted` for the whole time.
///
/// # Errors
/// At the first other thing seen, with the time it took.
pub async fn stays<T, F>(during: Duration, what: &str, wanted: &T, mut probe: impl FnMut() -> F) -> Result<()>
where
    T: PartialEq + Debug,
    F: Future<Output = Result<T>>,
{
    let start = Instant::now();
    while start.elapsed() < during {
        let seen = probe().await?;
        if seen != *wanted {
            bail!("{what}: wanted {wanted:?}, saw {seen:?} after {:?}", start.elapsed());
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}
