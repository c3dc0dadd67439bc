//! Addresses to listen on, written as Go programs take them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Where to listen: `:8080` (all interfaces), `127.0.0.1:8080`, `[::1]:8080`; `0` or `off` for nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BindAddress(Option<SocketAddr>);

impl BindAddress {
    /// The address, or none when the endpoint is turned off.
    pub(crate) const fn get(self) -> Option<SocketAddr> {
        self.0
    }
}

/// An address that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address to listen on: write :8080, 127.0.0.1:8080, or 0 for none")]
pub(crate) struct InvalidAddress(String);

impl FromStr for BindAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress(text.to_owned());
        if matches!(text, "0" | "off" | "") {
            return Ok(Self(None));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(Some(address)));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        let host: IpAddr = match host {
            "" => Ipv4Addr::UNSPECIFIED.into(),
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => return Err(invalid()),
        };
        Ok(Self(Some(SocketAddr::new(host, port))))
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("0"),
        }
    }
}
