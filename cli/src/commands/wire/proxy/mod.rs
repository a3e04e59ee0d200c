//! `yak proxy`: stands between two processes.

mod faults;
mod screen;
mod way;

use super::events::Ends;
use super::filter;
use super::printer::{Printer, Style};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::time;
use anyhow::Context as _;
use clap::Args;
use faults::{Cut, Faults, PerWay, Share};
use screen::{Link, Screen};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use way::Way;
use yak_protocol::decode::Direction;
use yak_protocol::decode::capture::CaptureWriter;

/// How long the other end may take to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Stand between two processes, show their frames, and delay, drop or cut them.
///
/// Each fault may be given for one way only: `--drop to-server=1%`. Frames are dropped whole; text sessions
/// pass unharmed by --drop. For a cluster name several pairs and let the brokers `--advertise` the proxy.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak proxy --listen 127.0.0.1:7001 --to 127.0.0.1:9701
  yak proxy --listen 127.0.0.1:7001 --to 127.0.0.1:9701 --delay 50ms --drop to-client=1% --seed 7
  yak proxy --listen :7000 --to :9700 --listen :7001 --to :9701 --pcap all.pcap --json --filter kind=heartbeat")]
pub struct ProxyArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, required = true, value_name = "ADDR")]
    listen: Vec<String>,
    /// Where the process is that answers, one for each --listen
    #[arg(long, required = true, value_name = "ADDR")]
    to: Vec<String>,
    /// Hold back everything for so long: 50ms, to-server=1s
    #[arg(long, value_name = "[WAY=]TIME", value_parser = |text: &str| PerWay::parse(text, time::duration))]
    delay: Vec<PerWay<Duration>>,
    /// Lose this share of the frames: 1%, to-client=0.5%
    #[arg(long, value_name = "[WAY=]SHARE", value_parser = |text: &str| PerWay::parse(text, Share::parse))]
    drop: Vec<PerWay<Share>>,
    /// Cut each connection after so many frames of one way, or in the middle of one after so many bytes:
    /// 10, 10frames, to-client=4096bytes
    #[arg(long, value_name = "[WAY=]COUNT", value_parser = |text: &str| PerWay::parse(text, Cut::parse))]
    cut_after: Vec<PerWay<Cut>>,
    /// Repeats the same faults on the n-th connection [default: others each time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Write what passed to a file that yak decode and Wireshark read
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// One line of JSON for each frame (as --output json)
    #[arg(long, conflicts_with = "hex")]
    json: bool,
    /// Every byte of each frame in hex, with what it is
    #[arg(long)]
    hex: bool,
    /// Open the batches: checksum, codec, producer, every record
    #[arg(long)]
    bodies: bool,
    /// Show only frames with these: kind=, topic=, id=, and the answers to them
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    filter: Vec<String>,
}

/// Runs until it is stopped.
///
/// # Errors
/// When an address cannot be used, or the output takes nothing more.
pub async fn run(args: ProxyArgs, context: Context) -> anyhow::Result<()> {
    if args.listen.len() != args.to.len() {
        let what = format!("{} times --listen, but {} times --to", args.listen.len(), args.to.len());
        return Err(Failure::new(exit::USAGE, what).into());
    }
    let style = match (args.json || context.json(), args.hex) {
        (true, _) => Style::Json,
        (_, true) => Style::Hex,
        _ => Style::Text,
    };
    let capture = match &args.pcap {
        None => None,
        Some(path) => {
            let file = std::fs::File::create(path);
            let writer = file.and_then(CaptureWriter::new);
            Some(writer.with_context(|| format!("cannot write {}", path.display()))?)
        }
    };
    let printer = Printer::new(std::io::stdout(), style, args.bodies);
    let screen = Arc::new(Screen::new(printer, capture, filter(&args.filter)?));
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let faults = Arc::new(Faults::new(&args.delay, &args.drop, &args.cut_after, seed));

    let mut tasks = JoinSet::new();
    for (listen, to) in args.listen.iter().zip(args.to) {
        let (listen, to) = (with_host(listen), with_host(&to));
        let listener =
            TcpListener::bind(&listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        writeln!(std::io::stderr(), "ready {} -> {to}", listener.local_addr()?)?;
        tasks.spawn(accept(listener, to, screen.clone(), faults.clone()));
    }
    tokio::select! {
        () = context.shutdown.cancelled() => {}
        () = screen.failed() => {}
        Some(ended) = tasks.join_next() => ended??,
    }
    tasks.shutdown().await;
    let tally = screen.close()?;
    tracing::info!("seed {seed}: {}", tally.words());
    Ok(())
}

/// `:7000` is a port on loopback.
fn with_host(address: &str) -> String {
    if address.starts_with(':') { format!("127.0.0.1{address}") } else { address.to_owned() }
}

async fn accept(
    listener: TcpListener,
    to: String,
    screen: Arc<Screen>,
    faults: Arc<Faults>,
) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, address) = accepted.context("cannot accept connections")?;
                let (to, screen, faults) = (to.clone(), screen.clone(), faults.clone());
                connections.spawn(async move {
                    match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&to)).await {
                        Ok(Ok(server)) => pass(client, server, screen, faults).await,
                        // The client sees its connection closed, as it would without a proxy.
                        Ok(Err(error)) => tracing::warn!("{address} wanted {to}: {error}"),
                        Err(_) => tracing::warn!("{address} wanted {to}: no answer within 10 s"),
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes on what goes over one connection until both ways have ended, or it is cut.
async fn pass(client: TcpStream, server: TcpStream, screen: Arc<Screen>, faults: Arc<Faults>) {
    let addresses = client.peer_addr().and_then(|client| Ok((client, server.peer_addr()?)));
    let Ok((client_address, server_address)) = addresses else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let connection = screen.next_connection();
    let ends = Ends { connection, client: client_address, server: server_address };
    let link = Arc::new(Link::open(ends, screen));
    let cut = CancellationToken::new();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let way = |direction| Way {
        direction,
        faults: faults.of(direction, connection),
        link: link.clone(),
        cut: cut.clone(),
    };
    let up = way(Direction::ToServer).pass(from_client, to_server);
    let down = way(Direction::ToClient).pass(from_server, to_client);
    tokio::select! {
        _ = async { tokio::join!(up, down) } => link.close(cut.is_cancelled()),
        () = cut.cancelled() => link.close(true),
    }
}
