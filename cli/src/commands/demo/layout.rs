//! Who coordinates the demo's cluster, and which processes that takes.

use super::processes::Place;
use clap::ValueEnum;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Where the coordinators are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Coordinators {
    /// One coordinator, three brokers.
    #[default]
    One,
    /// A quorum of three coordinators, three brokers.
    Three,
    /// Three brokers alone: each runs a coordinator of the quorum.
    Embedded,
    /// Two brokers and a Redis: each broker runs a coordinator, the lease is in the Redis.
    Redis,
}

impl Coordinators {
    /// How many brokers there are, and replicas of each partition.
    pub fn brokers(self) -> usize {
        if self == Self::Redis { 2 } else { 3 }
    }

    /// As people read it.
    pub fn described(self) -> &'static str {
        match self {
            Self::One => "one coordinator and 3 brokers",
            Self::Three => "three coordinators and 3 brokers",
            Self::Embedded => "3 brokers that coordinate themselves",
            Self::Redis => "2 brokers that coordinate themselves, and a Redis",
        }
    }
}

/// The processes of an arrangement, none started.
pub struct Layout {
    /// Coordinators of their own.
    pub coordinators: Vec<Place>,
    /// Brokers.
    pub brokers: Vec<Place>,
}

impl Layout {
    /// Everything on free ports of loopback, with data and notes below `data`.
    ///
    /// # Errors
    /// When there are no free ports.
    pub fn new(how: Coordinators, data: &Path, redis: Option<&str>) -> anyhow::Result<Self> {
        let alone = match how {
            Coordinators::One => 1,
            Coordinators::Three => 3,
            Coordinators::Embedded | Coordinators::Redis => 0,
        };
        let coordinators = free_addresses(alone)?;
        let inside = free_addresses(if alone == 0 { how.brokers() } else { 0 })?;
        let brokers = free_addresses(how.brokers())?;
        let place = |name: String, listen: &str, process: &str, folder: String, more: Vec<String>| {
            let mut arguments =
                vec![process.to_owned(), "--listen".into(), listen.to_owned(), "--data".into()];
            arguments.push(data.join(&folder).display().to_string());
            arguments.extend(more);
            Place::new(name, listen.to_owned(), arguments, data.join(format!("{folder}.log")))
        };
        let coordinator = |(n, listen): (usize, &String)| {
            let peers = (alone > 1).then(|| ["--peers".to_owned(), coordinators.join(",")]);
            let more = peers.into_iter().flatten().collect();
            place(format!("coordinator {n}"), listen, "coordinator", format!("c{n}"), more)
        };
        let broker = |(n, listen): (usize, &String)| {
            let mut more = vec!["--name".to_owned(), format!("b{n}"), "--coordinator".into()];
            let own = inside.get(n - 1);
            match own {
                None => more.push(coordinators.join(",")),
                Some(own) => {
                    more.extend(["embedded".into(), "--coordinator-listen".into(), own.clone()]);
                    more.extend(match redis {
                        Some(url) => ["--lease-backend".into(), url.to_owned()],
                        None => ["--peers".into(), inside.join(",")],
                    });
                }
            }
            let broker = place(format!("broker {n}"), listen, "broker", format!("b{n}"), more);
            if let Some(own) = own { broker.coordinating(own) } else { broker }
        };
        Ok(Self {
            coordinators: (1..).zip(&coordinators).map(coordinator).collect(),
            brokers: (1..).zip(&brokers).map(broker).collect(),
        })
    }
}

/// Addresses on loopback that are free now; the kernel gives out none of them again soon.
pub fn free_addresses(count: usize) -> std::io::Result<Vec<String>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))
        .collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}
