//! `verdigris migrate`: everything stored at v1beta1.

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::app;
use crate::migrate::{Event, Options, Tally};

/// Flags of `verdigris migrate`.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config or the pod's service account
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Objects written a second, at most
    #[arg(long, default_value = "50")]
    rate: NonZeroU32,
    /// Objects read at once
    #[arg(long, default_value = "250")]
    page_size: NonZeroU32,
}

/// Rewrites every object at v1beta1, then trims `status.storedVersions`. Can be stopped and run again.
pub fn run(args: &MigrateArgs) -> ExitCode {
    let options = Options {
        page_size: args.page_size,
        rate: args.rate,
        dry_run: args.dry_run,
    };
    let mut show = Show {
        dry_run: args.dry_run,
        terminal: std::io::stderr().is_terminal(),
        open: false,
    };
    let done = app::migrate(args.kubeconfig.as_deref(), &options, &mut |event| {
        show.event(&event);
    });
    show.end_line();
    match done {
        Ok(()) if args.dry_run => ExitCode::SUCCESS,
        Ok(()) => {
            eprintln!("verdigris: everything of flagger.app is stored at v1beta1");
            ExitCode::SUCCESS
        }
        Err(app::Failure::Usage(message)) => super::usage(&message),
        Err(app::Failure::Died(message)) => {
            eprintln!("verdigris: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Width of the bar, characters.
const BAR: u64 = 30;
/// Without a terminal, objects between two lines.
const EVERY: u64 = 1000;

/// Events as lines on standard error; progress as one line that is drawn over, where there is a terminal.
struct Show {
    dry_run: bool,
    terminal: bool,
    open: bool,
}

impl Show {
    fn event(&mut self, event: &Event) {
        if let Event::Progress { kind, seen, total } = event {
            if self.terminal {
                eprint!("\r{}", bar(kind, *seen, *total));
                // A line that cannot be drawn is no reason to stop.
                let _ = std::io::stderr().flush();
                self.open = true;
            } else if seen.is_multiple_of(EVERY) {
                eprintln!("verdigris: {}", counted(kind, *seen, *total));
            }
            return;
        }
        self.end_line();
        if let Some(line) = line(event, self.dry_run) {
            eprintln!("verdigris: {line}");
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!();
        }
    }
}

fn counted(kind: &str, seen: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{kind}: {seen} of {total}"),
        None => format!("{kind}: {seen}"),
    }
}

fn bar(kind: &str, seen: u64, total: Option<u64>) -> String {
    let Some(total) = total.filter(|total| *total > 0) else {
        return counted(kind, seen, total);
    };
    let full = (BAR * seen.min(total) / total) as usize;
    format!(
        "[{}{}] {}",
        "=".repeat(full),
        " ".repeat(BAR as usize - full),
        counted(kind, seen, Some(total))
    )
}

/// One line of what happened, or would happen. Progress has its own.
fn line(event: &Event, dry_run: bool) -> Option<String> {
    let verb = |done: &'static str, would: &'static str| if dry_run { would } else { done };
    Some(match event {
        Event::Progress { .. } => return None,
        Event::Absent { definition } => format!("{definition}: not in this cluster, nothing is stored"),
        Event::Adopted { definition, stored } => format!(
            "{definition}: {} this program's versions and schemas; {} stay listed while objects are stored at them",
            verb("gets", "would get"),
            stored.join(", "),
        ),
        Event::Migrated {
            kind,
            tally:
                Tally {
                    seen,
                    rewritten,
                    cleaned,
                    gone,
                },
        } => {
            let cleaned = format!("{cleaned} cleaned of owners at versions nobody serves");
            if dry_run {
                format!("{kind}: {seen} would be rewritten where they are not stored at v1beta1, {cleaned}")
            } else {
                format!("{kind}: {seen} seen, {rewritten} rewritten, {cleaned}, {gone} deleted meanwhile")
            }
        }
        Event::Trimmed { definition, stored } => format!(
            "{definition}: status.storedVersions {} from {} to v1beta1",
            verb("trimmed", "would be trimmed"),
            stored.join(", "),
        ),
        Event::Retired { definition, versions } => format!(
            "{definition}: {} {} listed",
            versions.join(", "),
            verb("no longer", "would no longer be"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_end_and_never_longer() {
        assert_eq!(
            bar("Canary", 15, Some(30)),
            format!("[{}{}] Canary: 15 of 30", "=".repeat(15), " ".repeat(15))
        );
        assert_eq!(
            bar("Canary", 40, Some(30)),
            format!("[{}] Canary: 40 of 30", "=".repeat(30))
        );
        assert_eq!(bar("Canary", 7, None), "Canary: 7");
        assert_eq!(bar("Canary", 0, Some(0)), "Canary: 0 of 0");
    }

    #[test]
    fn a_dry_run_says_would() {
        let event = Event::Trimmed {
            definition: "canaries.flagger.app".to_owned(),
            stored: vec!["v1alpha3".to_owned(), "v1beta1".to_owned()],
        };
        assert_eq!(
            line(&event, false).unwrap(),
            "canaries.flagger.app: status.storedVersions trimmed from v1alpha3, v1beta1 to v1beta1"
        );
        assert!(line(&event, true).unwrap().contains("would be trimmed"));
        let event = Event::Migrated {
            kind: "Canary".to_owned(),
            tally: Tally {
                seen: 3,
                ..Tally::default()
            },
        };
        assert!(
            line(&event, true)
                .unwrap()
                .starts_with("Canary: 3 would be rewritten")
        );
    }
}
