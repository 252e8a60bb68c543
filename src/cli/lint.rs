//! `verdigris lint`: manifests judged offline, as admission judges them.
//!
//! I own the command's arguments, its reading of files and directories, and its exit status: 0 nothing to refuse,
//! 1 something is, 2 something could not be read or was asked wrongly.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: exemptions of policies end by the clock"
)]

use std::fmt::Write as _;
use std::fs::{self, File as Opened};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lint::{self, File, Level, MAX_BYTES, Options, Outcome, Unjudged};
use crate::model::canary::Provider;
use crate::model::parse::{self, Settings};

/// The most files that are read from directories.
const MAX_FILES: usize = 20_000;
/// The deepest directory that is walked.
const MAX_DEPTH: usize = 64;

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Form {
    /// Lines for people and editors: file:line:column, the line itself, a caret
    #[default]
    Text,
    /// A JSON array of findings
    Json,
    /// A SARIF 2.1.0 log for code scanners
    Sarif,
    /// Annotations for GitHub Actions
    Github,
}

/// Arguments of `verdigris lint`.
#[derive(Debug, Clone, clap::Args)]
pub struct LintArgs {
    /// Manifests, YAML or JSON; directories are searched for .yaml, .yml and .json; `-` is standard input
    #[arg(value_name = "FILE|DIR", required = true)]
    pub files: Vec<String>,
    /// How the report is printed
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Form,
    /// Fail on warnings, too
    #[arg(long)]
    pub strict: bool,
    /// File or directory of CanaryPolicies to obey; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub policy: Vec<String>,
    /// Provider of Canaries that name none; rules about the provider are then certain
    #[arg(long, value_name = "PROVIDER", value_parser = parse::provider)]
    pub mesh_provider: Option<Provider>,
    /// Shorter analysis intervals are raised to this
    #[arg(long, default_value = "10s", value_parser = super::interval)]
    pub min_analysis_interval: Duration,
    /// Labels that may tell the pods of a target, in order
    #[arg(long, value_delimiter = ',', value_name = "LABEL")]
    pub selector_labels: Vec<String>,
}

/// Runs the command and returns its exit status. `colours` paints the text for a terminal.
pub fn run(
    args: &LintArgs,
    colours: bool,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let (mut files, mut unread) = read_all(&args.policy, true, stdin);
    let (others, more) = read_all(&args.files, false, stdin);
    // A policy may lie in a directory that is judged, too.
    files.extend(
        others
            .into_iter()
            .filter(|file| !args.policy.contains(&file.name)),
    );
    unread.extend(more);
    let options = Options {
        settings: Settings {
            provider: args.mesh_provider.clone().unwrap_or(Provider::Kubernetes),
            provider_is_certain: args.mesh_provider.is_some(),
            min_interval: args.min_analysis_interval,
            ..Settings::default()
        },
        selector_labels: args.selector_labels.clone(),
        now: jiff::Timestamp::now(),
    };
    let mut outcome = lint::lint(&files, &options);
    outcome.unjudged.splice(0..0, unread);
    let report = match args.output {
        Form::Text => lint::text(&outcome, colours),
        Form::Json => lint::json(&outcome),
        Form::Sarif => lint::sarif(&outcome),
        Form::Github => lint::github(&outcome),
    };
    let written = stdout.write_all(report.as_bytes()).and_then(|()| stdout.flush());
    // There is nobody left to tell when standard error fails.
    let _ = stderr.write_all(summary(&outcome, args.output).as_bytes());
    match written {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(stderr, "verdigris: standard output: {error}");
            2
        }
        Ok(()) | Err(_) => status(&outcome, args.strict),
    }
}

fn status(outcome: &Outcome, strict: bool) -> u8 {
    if !outcome.unjudged.is_empty() {
        return 2;
    }
    let fails = outcome.count(Level::Error) > 0 || outcome.hidden > 0;
    u8::from(fails || (strict && outcome.count(Level::Warning) > 0))
}

/// What standard error says: what could not be judged, and the sum.
fn summary(outcome: &Outcome, form: Form) -> String {
    let mut out = String::new();
    for one in &outcome.unjudged {
        let place = one
            .place
            .map_or(String::new(), |(line, column)| format!("{line}:{column}:"));
        let _ = writeln!(out, "{}:{place} not judged: {}", one.file, one.message);
    }
    if form != Form::Text {
        return out;
    }
    let _ = write!(
        out,
        "{}, {} in {}",
        counted(outcome.count(Level::Error), "error"),
        counted(outcome.count(Level::Warning), "warning"),
        counted(outcome.judged, "object")
    );
    if outcome.hidden > 0 {
        let _ = write!(out, "; {} more not shown", counted(outcome.hidden, "finding"));
    }
    if outcome.passed_over > 0 {
        let files = counted(outcome.passed_over, "file");
        let _ = write!(out, "; {files} without Flagger's kinds could not be read");
    }
    out.push('\n');
    out
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Reads what was named, and what directories hold.
fn read_all(names: &[String], obeyed: bool, stdin: &mut dyn Read) -> (Vec<File>, Vec<Unjudged>) {
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    for name in names {
        if name == "-" {
            add(name, true, text_of(stdin), &mut files, &mut unread);
        } else if Path::new(name).is_dir() {
            let mut found = Vec::new();
            walk(Path::new(name), 0, &mut found, &mut unread);
            for path in found {
                let shown = path.display().to_string();
                add(&shown, false, open(&path), &mut files, &mut unread);
            }
        } else {
            add(name, true, open(Path::new(name)), &mut files, &mut unread);
        }
    }
    for file in &mut files {
        file.obeyed = obeyed;
    }
    (files, unread)
}

fn add(
    name: &str,
    named: bool,
    text: Result<String, String>,
    files: &mut Vec<File>,
    unread: &mut Vec<Unjudged>,
) {
    match text {
        // The same file may be named and lie in a directory that is named.
        Ok(_) if files.iter().any(|known| known.name == name) => {}
        Ok(text) => files.push(File {
            name: name.to_owned(),
            text,
            named,
            obeyed: false,
        }),
        Err(message) => unread.push(Unjudged {
            file: name.to_owned(),
            place: None,
            message,
        }),
    }
}

fn open(path: &Path) -> Result<String, String> {
    let mut file = Opened::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    text_of(&mut file)
}

fn text_of(from: &mut dyn Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("larger than {} MiB; split it", MAX_BYTES / 1024 / 1024));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("not UTF-8 at byte {at}; save it as UTF-8")
    })
}

/// The manifests of a directory and those beneath it, in order of their names. Hidden ones are left out, links to
/// directories are not followed.
fn walk(directory: &Path, depth: usize, found: &mut Vec<PathBuf>, unread: &mut Vec<Unjudged>) {
    let mut stop = |message: String| {
        unread.push(Unjudged {
            file: directory.display().to_string(),
            place: None,
            message,
        });
    };
    if depth > MAX_DEPTH {
        return stop(format!(
            "more than {MAX_DEPTH} directories deep; name it on its own"
        ));
    }
    let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match listed {
        Ok(entries) => entries,
        Err(error) => return stop(format!("cannot be read: {error}")),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if hidden {
            continue;
        }
        if is_directory {
            walk(&path, depth + 1, found, unread);
        } else if is_manifest(&path) && path.is_file() {
            if found.len() == MAX_FILES {
                unread.push(Unjudged {
                    file: path.display().to_string(),
                    place: None,
                    message: format!("more than {MAX_FILES} files; name smaller directories"),
                });
                return;
            }
            found.push(path);
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: LintArgs,
    }

    const GOOD: &str = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: a}\nspec:\n  \
                        targetRef: {apiVersion: apps/v1, kind: Deployment, name: a}\n  service: {port: 80}\n  \
                        analysis: {interval: 1m, threshold: 2, iterations: 5, metrics: [{name: q, query: up, threshold: 1}]}\n";

    /// Exit status, standard output, standard error.
    fn lint(args: &[&str], stdin: &[u8]) -> (u8, String, String) {
        let command = Command::try_parse_from([&["lint"], args].concat()).unwrap();
        let (mut stdin, mut stdout, mut stderr) = (stdin, Vec::new(), Vec::new());
        let status = run(&command.args, false, &mut stdin, &mut stdout, &mut stderr);
        (
            status,
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        )
    }

    /// A directory of its own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("verdigris-lint-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path.display().to_string()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn exit_status() {
        let broken = GOOD.replace("port: 80", "port: 0");
        let warned = GOOD.replace("interval: 1m", "interval: 1s");
        for (args, text, status) in [
            (&["-"][..], GOOD, 0),
            (&["-"], &broken, 1),
            (&["-"], &warned, 0),
            (&["-", "--strict"], &warned, 1),
            (&["-"], "a: [", 2),
            (&["-"], "a: b", 0),
            (&["-"], "", 0),
            (&["no-such-file.yaml"], "", 2),
        ] {
            let (found, stdout, stderr) = lint(args, text.as_bytes());
            assert_eq!(found, status, "{text}: {stdout}{stderr}");
        }
        assert_eq!(lint(&["-"], b"a: \xff").0, 2);
        assert!(Command::try_parse_from(["lint"]).is_err());
        assert!(Command::try_parse_from(["lint", "--mesh-provider", "kubernets", "-"]).is_err());
        assert!(
            lint(&["-"], &vec![b'#'; MAX_BYTES as usize + 1])
                .2
                .contains("larger than 8 MiB")
        );
    }

    #[test]
    fn directories_are_walked() {
        let directory = Directory::new("walk");
        let broken = GOOD.replace("port: 80", "port: 0");
        directory.write("b.yaml", &broken);
        directory.write(
            "deep/er/a.yml",
            broken.replace("kind: Canary", "kind: Canary # é"),
        );
        directory.write("deep/c.json", br#"{"kind": "Other"}"#);
        directory.write("notes.txt", "a: [");
        directory.write(".git/x.yaml", "a: [");
        let chart = directory.write("chart.yaml", "a: {{ .Values.b }}");
        let root = directory.0.display().to_string();
        let (status, stdout, stderr) = lint(&[&root, &format!("{root}/b.yaml")], b"");
        assert_eq!(status, 1, "{stdout}{stderr}");
        let files: Vec<_> = stdout
            .lines()
            .filter(|line| line.contains(": error: "))
            .map(|line| line.trim_start_matches(&root).split(':').next().unwrap())
            .collect();
        assert_eq!(files, ["/b.yaml", "/deep/er/a.yml"]);
        assert!(
            stderr.ends_with(
                "2 errors, 0 warnings in 2 objects; 1 file without Flagger's kinds could not be read\n"
            ),
            "{stderr}"
        );
        let (status, _, stderr) = lint(&[&chart], b"");
        assert_eq!(status, 2);
        assert!(
            stderr.contains("chart.yaml:1:4: not judged: a Helm template"),
            "{stderr}"
        );
    }

    #[test]
    fn machines_get_nothing_but_the_report() {
        for form in ["json", "sarif", "github"] {
            let (status, stdout, stderr) = lint(&["-o", form, "-"], GOOD.as_bytes());
            assert_eq!((status, stderr.as_str()), (0, ""), "{form}");
            if form != "github" {
                serde_json::from_str::<serde_json::Value>(&stdout).unwrap();
            }
        }
    }
}
