use super::ask;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{connect, table, text};
use clap::Args;
use serde::Serialize;
use yak_protocol::message::GroupDelete;

/// Forget groups without members, and their offsets.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak group delete tests
  yak group delete tests-1 tests-2
  yak group list --output json | jq -r '.[] | select(.state == \"empty\").group' | xargs yak group delete")]
pub struct DeleteArgs {
    /// Their names
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    group: String,
    status: String,
    deleted: bool,
}

pub(super) async fn run(args: DeleteArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, _) = connect::reach(&context, connect::BRIEFLY).await?;
    let mut rows = Vec::new();
    let mut code = None;
    for group in &args.groups {
        let outcome = ask(&cluster, &GroupDelete { group: group.clone(), forward: true }).await;
        let (status, deleted) = match outcome {
            Ok(reply) => (format!("deleted, with {}", text::count(reply.offsets, "offset")), true),
            Err(error) => {
                let status = error.to_string();
                code.get_or_insert(exit::code_of(&error.into()));
                (status, false)
            }
        };
        rows.push(Row { group: group.clone(), status, deleted });
    }
    let cells: Vec<_> = rows.iter().map(|row| vec![row.group.clone(), row.status.clone()]).collect();
    table::print(&context, &["GROUP", "STATUS"], &cells, &rows)?;
    // The table has said what went wrong; only the exit code is left.
    code.map_or(Ok(()), |code| Err(Failure::new(code, "").into()))
}
