//! `verdigris promote`, `abort`, `retry`, `pause`, `resume`: an operator's word, written on the object.

use std::process::ExitCode;
use std::time::Duration;

use super::status::{Place, ended, patience};
use crate::app;
use crate::console::order::{Answered, order};
use crate::console::{self, bare};
use crate::model::order::{ANNOTATION, Verb};
use crate::model::status::Reply;

/// Flags of the verbs.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    /// The Canary
    name: String,
    #[command(flatten)]
    place: Place,
    /// Do not wait for the controller's answer
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the controller's answer
    #[arg(long, default_value = "20s", value_parser = patience, conflicts_with = "no_wait")]
    timeout: Duration,
}

/// Orders. Exit status: 0 the controller takes it, 1 it refuses or there is no such Canary, 2 nobody answered in time.
pub fn run(verb: Verb, args: &OrderArgs) -> ExitCode {
    let place = &args.place;
    let name = bare(&args.name);
    let patience = if args.no_wait {
        Duration::ZERO
    } else {
        args.timeout
    };
    let done = app::at_a_terminal(
        place.kubeconfig.as_deref(),
        place.context.as_deref(),
        async |client| {
            let namespace = console::namespace_of(&client, place.namespace.as_deref());
            let answered = order(&client, &namespace, name, verb, patience).await?;
            Ok(told(
                verb,
                &format!("{name}.{namespace}"),
                &answered,
                args.timeout,
            ))
        },
    );
    ended(done)
}

fn told(verb: Verb, canary: &str, answered: &Answered, timeout: Duration) -> ExitCode {
    let verb = verb.as_str();
    match answered {
        Answered::Said(answer) => match answer.outcome {
            Reply::Accepted | Reply::Honoured => {
                eprintln!("verdigris: {verb} {canary}: {}", answer.message);
            }
            Reply::Refused => {
                eprintln!("verdigris: {verb} {canary} is refused: {}", answer.message);
            }
        },
        Answered::Given => eprintln!("verdigris: {verb} {canary}: ordered"),
        Answered::Silence => {
            eprintln!(
                "verdigris: {verb} {canary}: ordered, but nobody answered within {} s; is the controller running? The order \
                 stays on the Canary; to take it back: kubectl annotate canary/{} -n {} {ANNOTATION}-",
                timeout.as_secs(),
                canary.split('.').next().unwrap_or_default(),
                canary.rsplit('.').next().unwrap_or_default(),
            );
            return ExitCode::from(2);
        }
    }
    if answered.is_taken() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
