//! What people may do on a server's port, and who stands in front of it.

use clap::Args;
use yak_protocol::net::{ListenerConfig, TextAccess, allowed_by_hand};

/// What a listener takes besides frames.
#[derive(Args, Debug, Clone)]
pub struct ByHand {
    /// What people may type: full, readonly, words or off [default: full from this machine, readonly from others]
    #[arg(long, value_name = "LEVEL")]
    pub text: Option<TextAccess>,
    /// Words and commands that are answered beyond what --text allows
    #[arg(long, value_delimiter = ',', value_name = "NAME,..", value_parser = allowed_by_hand)]
    pub text_allow: Vec<String>,
    /// Every connection comes through a proxy and begins with a header of the PROXY protocol
    #[arg(long)]
    pub proxy_protocol: bool,
    /// Listen beyond this machine although nobody is authenticated
    #[arg(long)]
    pub insecure: bool,
}

impl ByHand {
    /// The configuration of a server's listener.
    #[must_use]
    pub fn listener(self) -> ListenerConfig {
        let Self { text, text_allow, proxy_protocol, insecure } = self;
        ListenerConfig { text, text_allow, proxy_protocol, insecure, ..crate::log::listener() }
    }
}
