use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{connect, table};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};
use yak_protocol::message::DeleteTopic;
use yak_protocol::names::nearest;

/// How long deleting one topic may take.
const DELETE_TIMEOUT: Duration = Duration::from_secs(30);

/// Delete topics and all their records.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic delete tests
  yak topic delete tests-1 tests-2
  yak topic list --output json | jq -r '.[].topic | select(startswith(\"tmp.\"))' | xargs yak topic delete")]
pub struct DeleteArgs {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    status: String,
    deleted: bool,
}

pub(super) async fn run(args: DeleteArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let mut rows = Vec::new();
    let mut code = None;
    for topic in &args.topics {
        let known = |name: &str| metadata.topics.iter().any(|topic| topic.name == name);
        if !known(topic) {
            let near = nearest(topic, metadata.topics.iter().map(|topic| topic.name.as_str()));
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let status = format!("there is no such topic{hint}");
            rows.push(Row { topic: topic.clone(), status, deleted: false });
            code.get_or_insert(exit::NOT_FOUND);
            continue;
        }
        let request = DeleteTopic { topic: topic.clone() };
        let deadline = Instant::now() + DELETE_TIMEOUT;
        let outcome = tokio::select! {
            outcome = cluster.request_any(&request, Vec::new(), deadline.into()) => outcome,
            () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
        };
        let (status, deleted) = match outcome {
            Ok(answer) => {
                let id = answer.body.topic_id;
                super::known_everywhere(&cluster, |known| known.topics.iter().all(|topic| topic.id != id))
                    .await;
                ("deleted".to_owned(), true)
            }
            Err(error) => {
                let status = error.to_string();
                code.get_or_insert(exit::code_of(&error.into()));
                (status, false)
            }
        };
        rows.push(Row { topic: topic.clone(), status, deleted });
    }
    let cells: Vec<_> = rows.iter().map(|row| vec![row.topic.clone(), row.status.clone()]).collect();
    table::print(&context, &["TOPIC", "STATUS"], &cells, &rows)?;
    // The table has said what went wrong; only the exit code is left.
    code.map_or(Ok(()), |code| Err(Failure::new(code, "").into()))
}
