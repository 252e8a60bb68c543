//! `verdigris convert`: manifests from one version of Canary to the other, on the text as it was written.
//!
//! I own the command's arguments, its reading and writing of files, and its exit status: 0 done, 1 `--check` found
//! something to change, 2 something could not be read, converted or written.

mod drift;
mod manifest;
mod text;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use manifest::{Converted, manifest};
pub use manifest::{Format, Judge};

/// Arguments of `verdigris convert`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConvertArgs {
    /// The version to convert to.
    #[arg(long, value_name = "VERSION", default_value = "flagger.app/v1beta1", value_parser = version)]
    pub to: String,
    /// Write the files back instead of printing them.
    #[arg(long)]
    pub in_place: bool,
    /// Change and print nothing; exit with 1 if anything would change.
    #[arg(long, conflicts_with = "in_place")]
    pub check: bool,
    /// Print every document anew in this form; without it the text stays as it is but for what changes.
    #[arg(short, long, value_name = "FORM", conflicts_with_all = ["in_place", "check"])]
    pub output: Option<Format>,
    /// Manifests, YAML or JSON; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
}

/// Reads `--to`, with or without the group.
fn version(text: &str) -> Result<String, String> {
    match text.strip_prefix("flagger.app/").unwrap_or(text) {
        known @ ("v1beta1" | "v1alpha3") => Ok(format!("flagger.app/{known}")),
        _ => Err("expected flagger.app/v1beta1 or flagger.app/v1alpha3".to_owned()),
    }
}

/// Runs the command and returns its exit status.
///
/// `judge` says what is wrong with a PromQL query; it is told every inline query of every Canary.
pub fn run(
    args: &ConvertArgs,
    judge: Judge,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let mut status = 0;
    let mut out = Printed::default();
    for file in &args.files {
        if args.in_place && file == "-" {
            complain(
                stderr,
                "-",
                "standard input cannot be written back; leave out --in-place",
            );
            status = 2;
            continue;
        }
        let converted = match read(file, stdin).and_then(|text| manifest(&text, &args.to, judge)) {
            Ok(converted) => converted,
            Err(error) => {
                complain(stderr, file, &error);
                status = 2;
                continue;
            }
        };
        for note in converted.notes.iter().chain(&converted.errors) {
            complain(stderr, file, note);
        }
        if !converted.errors.is_empty() {
            status = 2;
        }
        for object in &converted.reprinted {
            complain(
                stderr,
                file,
                &format!(
                    "{object}: the change is more than a few words; the document is printed anew, without its comments"
                ),
            );
        }
        if args.check {
            if converted.changed {
                complain(stderr, file, "would change");
                status = status.max(1);
            }
        } else if args.in_place {
            if let Err(error) = write_back(file, &converted) {
                complain(stderr, file, &error);
                status = 2;
            }
        } else {
            out.add(&converted, args.output);
        }
    }
    if !args.check
        && !args.in_place
        && let Err(error) = stdout
            .write_all(out.text.as_bytes())
            .and_then(|()| stdout.flush())
    {
        // A reader that has seen enough (`| head`) is no failure.
        if error.kind() != io::ErrorKind::BrokenPipe {
            complain(stderr, "standard output", &error.to_string());
            status = 2;
        }
    }
    status
}

fn complain(stderr: &mut dyn Write, file: &str, text: &str) {
    // There is nobody left to tell when standard error fails.
    let _ = writeln!(stderr, "{file}: {text}");
}

/// # Errors
/// The file cannot be read, or is not UTF-8.
fn read(file: &str, stdin: &mut dyn Read) -> Result<String, String> {
    let mut text = String::new();
    if file == "-" {
        stdin
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    } else {
        text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    }
    Ok(text)
}

/// Replaces a file, all or nothing.
///
/// # Errors
/// Its text could not be edited in place, or it cannot be written.
fn write_back(file: &str, converted: &Converted) -> Result<(), String> {
    if !converted.errors.is_empty() {
        return Err("not written, because not every object could be converted".to_owned());
    }
    if !converted.reprinted.is_empty() {
        return Err(
            "not written, because comments would be lost; run without --in-place and keep what is printed"
                .to_owned(),
        );
    }
    if !converted.changed {
        return Ok(());
    }
    let replace = || -> io::Result<()> {
        let path = Path::new(file).canonicalize()?;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".verdigris-tmp");
        let next = path.with_file_name(name);
        fs::write(&next, &converted.text)?;
        fs::set_permissions(&next, fs::metadata(&path)?.permissions())?;
        fs::rename(&next, &path).inspect_err(|_| {
            // Best effort: the rename has failed and is what is reported.
            let _ = fs::remove_file(&next);
        })
    };
    replace().map_err(|error| format!("cannot be written: {error}"))
}

/// What goes to standard output.
#[derive(Debug, Default)]
struct Printed {
    text: String,
}

impl Printed {
    /// Adds one manifest, with a separator when there is none.
    fn add(&mut self, converted: &Converted, form: Option<Format>) {
        match form {
            Some(Format::Json) => {
                for document in &converted.documents {
                    self.text.push_str(&text::print(document, true));
                }
            }
            Some(Format::Yaml) => {
                for document in &converted.documents {
                    self.separate("");
                    self.text.push_str(&text::print(document, false));
                }
            }
            None => {
                self.separate(&converted.text);
                self.text.push_str(&converted.text);
            }
        }
    }

    fn separate(&mut self, next: &str) {
        if self.text.is_empty() {
            return;
        }
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        let begins_document = next
            .lines()
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        if !begins_document.is_some_and(|line| line.starts_with("---")) {
            self.text.push_str("---\n");
        }
    }
}
