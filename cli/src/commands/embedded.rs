//! A coordinator inside a broker's process: brokers alone are a complete cluster.

use super::broker::BrokerServerArgs;
use crate::context::Context;
use crate::exit::{Failure, USAGE};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;
use yak_coordinator::CoordinatorConfig;
use yak_protocol::net::Listener;
use yak_protocol::text::Sources;

/// How far above the broker's port the coordinator's is, unless told otherwise.
const PORT_ABOVE: u16 = 100;

/// A coordinator that is about to run in a broker's process.
pub struct Embedded {
    listener: Listener,
    config: CoordinatorConfig,
    peers: Vec<String>,
}

impl Embedded {
    /// Whether `--coordinator` asks for one.
    ///
    /// # Errors
    /// When it asks for others as well.
    pub fn wanted(coordinators: &[String]) -> anyhow::Result<bool> {
        let embedded = coordinators.iter().any(|address| address == "embedded");
        if embedded && coordinators.len() > 1 {
            let what = "--coordinator embedded stands alone; the others of its quorum are named by --peers";
            return Err(Failure::new(USAGE, what).into());
        }
        Ok(embedded)
    }

    /// Binds its address, and takes its settings out of those of the broker called `broker`.
    ///
    /// # Errors
    /// When the address or a setting cannot be used.
    pub fn bind(
        args: &BrokerServerArgs,
        broker: &str,
        broker_address: SocketAddr,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let listen =
            args.coordinator_listen.clone().unwrap_or_else(|| beside_broker(broker_address, &args.listen));
        let listener = Listener::bind(&listen, args.by_hand.clone().listener())?;
        let data = args.coordinator_data.clone().unwrap_or_else(|| folder_beside(&args.data));
        let peers = args.metadata.peers.clone();
        let config = CoordinatorConfig {
            // The lease holds the broker's name, as its users know it.
            name: Some(broker.to_owned()),
            advertise: args.coordinator_advertise.clone(),
            sources: own_sources(context.configured.sources()),
            ..args.metadata.config(data)?
        };
        Ok(Self { listener, config, peers })
    }

    /// Where the broker finds coordinators: here first.
    pub fn addresses(&self) -> Vec<String> {
        let own = self.config.advertise.clone().unwrap_or_else(|| self.listener.local_addr().to_string());
        let others = self.peers.iter().filter(|peer| **peer != own).cloned();
        std::iter::once(own.clone()).chain(others).collect()
    }
}

/// Runs the coordinator beside the broker, and stops it after the broker has handed over and ended. Either
/// one's failure is the process's.
///
/// # Errors
/// What failed first.
pub async fn beside(
    coordinator: Embedded,
    broker: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let Embedded { listener, config, .. } = coordinator;
    let mut coordinator = std::pin::pin!(yak_coordinator::run(listener, config, shutdown.clone()));
    let ended = tokio::select! {
        ended = broker => ended,
        ended = &mut coordinator => return Ok(ended?),
    };
    shutdown.cancel();
    ended.and(coordinator.await.map_err(Into::into))
}

/// Who set what of the coordinator's settings, out of those of its broker.
fn own_sources(broker: Sources) -> Sources {
    let of_broker = |setting: &String| matches!(setting.as_str(), "listen" | "advertise" | "data");
    let own = broker.into_iter().filter(|(setting, _)| !of_broker(setting));
    own.map(|(setting, source)| {
        let plain = setting.strip_prefix("coordinator_").map(str::to_owned);
        (plain.unwrap_or(setting), source)
    })
    .collect()
}

fn beside_broker(bound: SocketAddr, listen: &str) -> String {
    if listen.ends_with(":0") {
        return SocketAddr::new(bound.ip(), 0).to_string();
    }
    SocketAddr::new(bound.ip(), bound.port().saturating_add(PORT_ABOVE)).to_string()
}

fn folder_beside(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push("-coordinator");
    data.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_place_is_beside_the_broker() {
        let bound: SocketAddr = ([10, 0, 0, 1], 9701).into();
        assert_eq!(beside_broker(bound, "10.0.0.1:9701"), "10.0.0.1:9801");
        assert_eq!(beside_broker(([127, 0, 0, 1], 4242).into(), "127.0.0.1:0"), "127.0.0.1:0");
        assert_eq!(folder_beside(Path::new("/var/lib/b1")), Path::new("/var/lib/b1-coordinator"));
    }

    #[test]
    fn who_set_the_brokers_address_has_not_set_the_coordinators() {
        let sources = |pairs: &[(&str, &str)]| -> Sources {
            pairs.iter().map(|(name, by)| ((*name).to_owned(), (*by).to_owned())).collect()
        };
        let broker = [("listen", "command line"), ("coordinator_data", "yak.toml:3"), ("name", "BROKER_ID")];
        assert_eq!(own_sources(sources(&broker)), sources(&[("data", "yak.toml:3"), ("name", "BROKER_ID")]));
    }

    #[test]
    fn embedded_and_addresses_exclude_each_other() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(Embedded::wanted(&list(&["embedded"])).unwrap());
        assert!(!Embedded::wanted(&list(&["10.0.0.1:9700"])).unwrap());
        assert!(Embedded::wanted(&list(&["embedded", "10.0.0.1:9700"])).is_err());
    }
}
