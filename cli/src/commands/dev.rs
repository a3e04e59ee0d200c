//! `yak dev`: a coordinator and brokers in one process, to try things out.

use crate::context::Context;
use crate::local_cluster::LocalCluster;
use anyhow::Context as _;
use clap::Args;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use yak_protocol::defaults::COORDINATOR_PORT;

/// Start a coordinator and brokers in one process, to try things out.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak dev
  yak dev --nodes 1 --data /tmp/yak --clean
  yak dev --base-port 9800        # coordinator on 9800, brokers on 9801, 9802, 9803

On its stdin: `kill N` stops broker N as a crash would, `start N` brings it back.")]
pub struct DevArgs {
    /// Where everything is kept
    #[arg(long, default_value = "./yak-data", value_name = "DIR")]
    pub data: PathBuf,
    /// How many brokers
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub nodes: u16,
    /// Begin with empty data dirs: deletes what an earlier `yak dev` left in --data
    #[arg(long)]
    pub clean: bool,
    /// The coordinator's port; brokers take the next ones
    #[arg(long, default_value_t = yak_protocol::defaults::COORDINATOR_PORT, value_name = "PORT")]
    pub base_port: u16,
}

/// Runs until shutdown.
///
/// # Errors
/// When an address or the data dir cannot be used.
pub async fn run(args: DevArgs, context: Context) -> anyhow::Result<()> {
    if args.clean {
        clean(&args.data)?;
    }
    std::fs::create_dir_all(&args.data)
        .with_context(|| format!("creating {}: name another folder with --data", args.data.display()))?;
    let mut cluster = tokio::select! {
        started = LocalCluster::start(&args.data, args.nodes, args.base_port) => started?,
        () = context.shutdown.cancelled() => return Ok(()),
    };
    greet(&cluster, &args)?;

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut reading = true;
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => break,
            line = lines.next_line(), if reading => match line {
                Ok(Some(line)) => {
                    if obey(&mut cluster, line.trim()).await? {
                        break;
                    }
                }
                // Nobody types (a script started it): run on until a signal.
                Ok(None) | Err(_) => reading = false,
            },
        }
    }
    println!("stopping");
    cluster.stop().await
}

/// Prints `ready`, the addresses, and what to paste next.
fn greet(cluster: &LocalCluster, args: &DevArgs) -> anyhow::Result<()> {
    let brokers = cluster.brokers();
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {}", brokers.join(","))?;
    writeln!(out, "  coordinator {}", cluster.coordinator())?;
    for (n, address) in (1..).zip(&brokers) {
        writeln!(out, "  broker {n}    {address}")?;
    }
    writeln!(out, "  data        {}", args.data.display())?;
    writeln!(out, "\npaste into another terminal:")?;
    let yak = std::env::current_exe().map_or_else(|_| "yak".to_owned(), |path| path.display().to_string());
    let usual = args.base_port == COORDINATOR_PORT && args.nodes == 3;
    let at = if usual { String::new() } else { format!(" -b {}", brokers.join(",")) };
    writeln!(out, "  {yak} topic create orders{at}")?;
    writeln!(out, "  echo 'u1:hello' | {yak} produce orders -K :{at}")?;
    writeln!(out, "  {yak} consume orders --from-beginning{at}")?;
    writeln!(out, "  {yak} topic describe orders{at}")?;
    writeln!(out, "\nor with nothing but nc (docs/NETCAT.md):")?;
    if let Some((host, port)) = brokers.first().and_then(|address| address.rsplit_once(':')) {
        let typed = "PUB orders key=u1 -- hello\\nSUB orders\\nQUIT\\n";
        writeln!(out, "  printf '{typed}' | nc {host} {port}")?;
        writeln!(out, "  printf 'HELP\\nQUIT\\n' | nc {host} {port}")?;
        writeln!(out, "  echo ruok | nc {host} {port}")?;
    }
    writeln!(out, "\nhere: kill N, start N, quit")?;
    out.flush()?;
    Ok(())
}

/// Carries out a line of stdin; returns whether it asked to stop.
async fn obey(cluster: &mut LocalCluster, line: &str) -> anyhow::Result<bool> {
    let mut words = line.split_whitespace();
    let (verb, argument, rest) = (words.next(), words.next(), words.next());
    let outcome = match (verb, argument.map(str::parse::<u16>), rest) {
        (None, ..) => return Ok(false),
        (Some("quit" | "exit"), None, None) => return Ok(true),
        (Some("kill"), Some(Ok(n)), None) => {
            cluster.kill_broker(n).await.map(|()| format!("killed broker {n}"))
        }
        (Some("start"), Some(Ok(n)), None) => {
            cluster.start_broker(n).await.map(|()| format!("started broker {n}"))
        }
        _ => Err(anyhow::anyhow!("`{line}` is not known here: kill N, start N or quit")),
    };
    match outcome {
        Ok(done) => println!("{done}"),
        Err(error) => println!("error: {error:#}"),
    }
    Ok(false)
}

/// Deletes what an earlier run left, and nothing else that may lie in that folder.
fn clean(data: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", data.display())),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| {
            name == "coordinator"
                || name
                    .strip_prefix('b')
                    .is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
        });
        if ours && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())
                .with_context(|| format!("deleting {}", entry.path().display()))?;
        }
    }
    Ok(())
}
