//! The `yak` binary: a table from commands to the code that runs them, and nothing else.

mod address;
mod arguments;
mod commands;
mod config;
mod connect;
mod context;
mod exit;
mod local_cluster;
mod log;
mod node;
mod operate;
mod table;
mod text;
mod time;

use arguments::{Cli, Command};
use clap::{CommandFactory as _, FromArgMatches as _};
use config::{Environment, Stop};
use context::Context;
use exit::Failure;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let prepared = config::prepare(Cli::command());
    let configured = match config::configure(&prepared, &typed, &Environment::of_process()) {
        Ok(configured) => Arc::new(configured),
        Err(Stop::Typed(error)) => error.exit(),
        Err(Stop::Refused(lines)) => {
            return exit::report(&Failure::new(exit::USAGE, lines.join("\n     ")).into());
        }
    };
    let cli = match Cli::from_arg_matches(&configured.matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    log::start(&cli.global, cli.command.is_server());
    for note in &configured.notes {
        tracing::warn!("{note}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::anyhow!("cannot start the runtime: {error}")),
    };
    let outcome = runtime.block_on(async {
        let context = Context::start(cli.global, Arc::clone(&configured))?;
        run(cli.command, context).await
    });
    // A thread that still reads a terminal's stdin must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An address or a folder that cannot be used may not be the one that was typed.
            match configured.explain(&format!("{error:#}")) {
                Some(places) => exit::report(&error.context(places)),
                None => exit::report(&error),
            }
        }
    }
}

async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => commands::dev::run(args, context).await,
        Command::Coordinator(args) => commands::coordinator::run(args, context).await,
        Command::Broker(args) => commands::broker::run(args, context).await,
        Command::Demo(args) => commands::demo::run(args, context).await,
        Command::Produce(args) => commands::produce::run(args, context).await,
        Command::Consume(args) => commands::consume::run(args, context).await,
        Command::Topic(args) => commands::topic::run(args, context).await,
        Command::Group(args) => commands::group::run(args, context).await,
        Command::Why(args) => commands::why::run(args, context).await,
        Command::Cluster(args) => commands::cluster::run(args, context).await,
        Command::Config(args) => commands::config::run(args, &context),
        Command::Log(args) => commands::log_files::run(args, context).await,
        Command::Bench(args) => commands::bench::run(args, context).await,
        Command::Decode(args) => commands::wire::decode::run(args, context).await,
        Command::Encode(args) => commands::wire::encode::run(args),
        Command::Proxy(args) => commands::wire::proxy::run(args, context).await,
        Command::Tap(args) => commands::wire::tap::run(args, context).await,
    }
}
