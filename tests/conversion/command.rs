//! `verdigris convert`: the text stays, only what changes changes.

use std::path::PathBuf;

use clap::Parser;
use serde_json::{Value, json};
use verdigris::cli::convert::{ConvertArgs, run};

use crate::{ALPHA, corpus, to_alpha, to_beta};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ConvertArgs,
}

/// Exit status, standard output, standard error.
fn convert(args: &[&str], stdin: &str) -> (u8, String, String) {
    let command = Command::try_parse_from([&["convert"], args].concat()).unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let judge = |query: &str| query.contains("broken").then(|| "does not parse".to_owned());
    let status = run(
        &command.args,
        &judge,
        &mut stdin.as_bytes(),
        &mut stdout,
        &mut stderr,
    );
    (
        status,
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

const MANIFEST: &str = r#"# Shop, released slowly.
apiVersion: "flagger.app/v1alpha3"   # old
kind: Canary
metadata: {name: shop, namespace: 'store'}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  service:
    port: 8080
  # How it is judged:
  canaryAnalysis:   # the old key
    interval: 1m
    threshold: 5
    stepWeight: 10

    metrics:
    - name: request-success-rate
      threshold: 99.50   # percent
      interval: 1m
    - {name: 'request-duration', "threshold": 500, interval: 30s}
    - name: lag
      query: |
        max(lag) # not a comment
          by (app)
      threshold: 1e3
    - name: istio_requests_total
      threshold: 1
"#;

#[test]
fn only_what_changes_changes() {
    let expected = MANIFEST
        .replace("flagger.app/v1alpha3", "flagger.app/v1beta1")
        .replace("  canaryAnalysis:", "  analysis:")
        .replace("threshold: 99.50 ", "thresholdRange: {min: 99.50} ")
        .replace("\"threshold\": 500", "\"thresholdRange\": {\"max\": 500}")
        .replace("threshold: 1e3", "thresholdRange: {max: 1e3}");
    let (status, out, notes) = convert(&["-"], MANIFEST);
    assert_eq!((status, out.as_str()), (0, expected.as_str()));
    assert_eq!(
        notes,
        "-: Canary store/shop: flagger.app/v1alpha3 is now flagger.app/v1beta1\n\
         -: Canary store/shop: spec.canaryAnalysis is now spec.analysis\n\
         -: Canary store/shop: spec.analysis.metrics[0]: threshold 99.5 is now thresholdRange {min:99.5}\n\
         -: Canary store/shop: spec.analysis.metrics[1]: threshold 500 is now thresholdRange {max:500}\n\
         -: Canary store/shop: spec.analysis.metrics[2]: threshold 1000.0 is now thresholdRange {max:1000.0}\n\
         -: Canary store/shop: note: spec.analysis.metrics[1]: on Istio the duration is read from the milliseconds histogram; the threshold stays in milliseconds\n\
         -: Canary store/shop: note: spec.analysis.metrics[3]: \"istio_requests_total\" is not built in and has no query: it was ignored; now it fails every check\n"
    );
    let (status, back, _) = convert(&["--to", "v1alpha3", "-"], &out);
    assert_eq!((status, back.as_str()), (0, MANIFEST));
}

#[test]
fn ranges_become_thresholds_however_they_are_written() {
    let manifest = |range: &str| {
        format!(
            "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata:\n  name: a\nspec:\n  analysis:\n    metrics:\n    - name: request-duration\n      thresholdRange{range}\n      interval: 1m # kept\n"
        )
    };
    let expected = "apiVersion: flagger.app/v1alpha3\nkind: Canary\nmetadata:\n  name: a\nspec:\n  canaryAnalysis:\n    metrics:\n    - name: request-duration\n      threshold: 500\n      interval: 1m # kept\n";
    for range in [
        ": {max: 500}",
        ": { \"max\": 500 }",
        ":\n        max: 500",
        ":   {\n        max: 500\n      }",
    ] {
        let (status, out, notes) = convert(&["--to", "flagger.app/v1alpha3", "-"], &manifest(range));
        assert_eq!((status, out.as_str()), (0, expected), "{range}: {notes}");
    }
    // A comment after the number stays.
    let (_, out, _) = convert(&["--to", "v1alpha3", "-"], &manifest(":\n        max: 500 # ms"));
    assert_eq!(out, expected.replace("threshold: 500", "threshold: 500 # ms"));
    // A comment in between has no place: the document is printed anew, and that is said.
    let (status, out, notes) = convert(&["--to", "v1alpha3", "-"], &manifest(": # ms\n        max: 500"));
    assert_eq!(status, 0);
    assert_eq!(documents(&out), documents(expected));
    assert!(notes.contains("printed anew, without its comments"), "{notes}");
}

#[test]
fn other_documents_separators_and_odd_bytes_stay() {
    let text = format!(
        "%YAML 1.2\n---\n# first\napiVersion: v1\nkind: Service\nmetadata: {{name: a}}\n...\n---\n---\n{MANIFEST}---  # last\r\nkind: ConfigMap\r\napiVersion: v1\r\ndata:\r\n  canaryAnalysis: \"\\b\"\r\n"
    );
    let (status, out, _) = convert(&["-"], &text);
    let (_, alone, _) = convert(&["-"], MANIFEST);
    assert_eq!(status, 0);
    assert_eq!(out, text.replace(MANIFEST, &alone));
    // No newline at the end, carriage returns, U+0008.
    let text = MANIFEST.trim_end().replace('\n', "\r\n");
    let (_, out, _) = convert(&["-"], &text);
    assert_eq!(out, alone.trim_end().replace('\n', "\r\n"));
}

#[test]
fn json_stays_json() {
    let text = "{\n\t\"kind\": \"Canary\",\n\t\"apiVersion\": \"flagger.app/v1alpha3\",\n\t\"metadata\": {\"name\": \"a\\u0008\"},\n\t\"spec\": {\"canaryAnalysis\": {\"metrics\": [{\"name\":\"request-duration\",\"threshold\":5e2}]}}\n}\n";
    let (status, out, notes) = convert(&["-"], text);
    assert_eq!(status, 0, "{notes}");
    assert_eq!(
        out,
        text.replace("v1alpha3", "v1beta1")
            .replace("canaryAnalysis", "analysis")
            .replace("\"threshold\":5e2", "\"thresholdRange\":{\"max\": 5e2}")
    );
}

#[test]
fn lists_are_converted_item_by_item() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: flagger.app/v1alpha3\n  kind: Canary\n  metadata: {name: a}\n  spec: {canaryAnalysis: {threshold: 1}} # a\n- apiVersion: v1\n  kind: Pod\n";
    let (_, out, _) = convert(&["-"], text);
    assert_eq!(
        out,
        text.replace("v1alpha3", "v1beta1")
            .replace("canaryAnalysis", "analysis")
    );
}

#[test]
fn the_form_can_be_chosen() {
    let (_, out, _) = convert(&["-o", "json", "-"], &format!("{MANIFEST}---\nkind: Pod\n"));
    let values: Vec<Value> = serde_json::Deserializer::from_str(&out)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let canary = serde_saphyr::from_str::<Value>(MANIFEST).unwrap();
    assert_eq!(values, [to_beta(&canary), json!({"kind": "Pod"})]);
    let (_, out, _) = convert(&["-o", "yaml", "-"], &canary.to_string());
    assert_eq!(documents(&out), [to_beta(&canary)]);
    assert!(out.starts_with("apiVersion: flagger.app/v1beta1\n"));
}

#[test]
fn what_needs_more_than_words_is_printed_anew_and_comes_back() {
    let text = "# header\napiVersion: flagger.app/v1alpha3\nkind: Canary\nmetadata:\n  name: a\nspec:\n  service:\n    port: 1\n    appendHeaders: {a: b} # gone\n  canaryAnalysis: &x\n    threshold: 1\n";
    let (status, out, notes) = convert(&["-"], text);
    assert_eq!(status, 0);
    assert!(out.starts_with("# header\n"), "{out}");
    assert!(
        notes.contains("kept in the annotation flagger.app/conversion-stash: spec.service.appendHeaders"),
        "{notes}"
    );
    assert!(notes.contains("printed anew, without its comments"), "{notes}");
    let (_, back, _) = convert(&["--to", "v1alpha3", "-"], &out);
    assert_eq!(documents(&back), documents(text));

    // A metric that is written somewhere else in the document.
    let text = "apiVersion: flagger.app/v1alpha3\nkind: Canary\nmetadata: {name: a}\nspec:\n  canaryAnalysis:\n    metrics:\n    - &m {name: request-duration, threshold: 1}\n    - *m\n";
    let (_, out, _) = convert(&["-"], text);
    assert_eq!(documents(&out), [to_beta(&documents(text)[0])]);
}

#[test]
fn queries_that_do_not_parse_are_warned_of() {
    let text = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: a, namespace: b}\nspec: {analysis: {metrics: [{name: x, query: broken}]}}\n";
    let (status, out, notes) = convert(&["-"], text);
    assert_eq!((status, out.as_str()), (0, text));
    assert_eq!(
        notes,
        "-: Canary b/a: warning: spec.analysis.metrics[0].query: does not parse\n"
    );
}

/// A file of this test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn files_are_written_back_only_when_nothing_is_lost() {
    let path = file("in-place.yaml", MANIFEST);
    let name = path.to_str().unwrap();
    assert_eq!(convert(&["--check", name], "").0, 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), MANIFEST);
    let (status, out, _) = convert(&["--in-place", name], "");
    assert_eq!((status, out.as_str()), (0, ""));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        convert(&["-"], MANIFEST).1
    );
    assert_eq!(convert(&["--check", name], "").0, 0);
    std::fs::remove_file(path).unwrap();

    let text = "apiVersion: flagger.app/v1alpha3\nkind: Canary\nmetadata: {name: a}\nspec: {old: 1} # why\n";
    let path = file("refused.yaml", text);
    let (status, _, notes) = convert(&["--in-place", path.to_str().unwrap()], "");
    assert_eq!(status, 2);
    assert!(
        notes.contains("not written, because comments would be lost"),
        "{notes}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn mistakes_are_said_and_exit_with_two() {
    for (args, stdin, expected) in [
        (&["-"][..], "a: [1\n", "-: "),
        (&["no-such-file.yaml"], "", "no-such-file.yaml: cannot be read: "),
        (
            &["--in-place", "-"],
            "",
            "-: standard input cannot be written back",
        ),
        (
            &["-"],
            "apiVersion: flagger.app/v2\nkind: Canary\nmetadata: {name: a}\n",
            "-: Canary a: apiVersion: found \"flagger.app/v2\"",
        ),
        (&["-"], "kind: Pod\n---\nb: 1\nb: 2\n", "-: line 4, column 1: "),
    ] {
        let (status, _, notes) = convert(args, stdin);
        assert_eq!(status, 2, "{args:?} {stdin:?}");
        assert!(notes.starts_with(expected), "{notes}");
    }
    assert!(Command::try_parse_from(["convert", "--to", "v1", "-"]).is_err());
    assert!(Command::try_parse_from(["convert"]).is_err());
}

#[test]
fn every_real_manifest_keeps_its_text() {
    let mut files: Vec<PathBuf> = corpus::canaries().into_iter().map(|(path, _)| path).collect();
    files.dedup();
    let mut names = vec!["--to", "v1beta1"];
    for path in &files {
        let before = std::fs::read_to_string(path).unwrap();
        let (status, out, notes) = convert(&["-"], &before);
        assert_eq!(status, 0, "{}: {notes}", path.display());
        assert!(!notes.contains("printed anew"), "{}: {notes}", path.display());
        let kept = |text: &str| {
            text.lines()
                .filter(|line| line.contains('#'))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&out).len(), kept(&before).len(), "{}", path.display());
        if before.contains(ALPHA) {
            names.push(path.to_str().unwrap());
            let (_, back, _) = convert(&["--to", "v1alpha3", "-"], &out);
            assert_eq!(back, before, "{}", path.display());
        }
    }
    if names.len() > 2 {
        // All at once, and back through a pipe.
        let (_, out, _) = convert(&names, "");
        let (status, back, _) = convert(&["--to", "v1alpha3", "-"], &out);
        let originals: Vec<Value> = names[2..]
            .iter()
            .flat_map(|path| documents(&std::fs::read_to_string(path).unwrap()))
            .collect();
        assert_eq!(status, 0);
        assert_eq!(documents(&back), originals);
        assert_eq!(
            originals
                .iter()
                .map(to_beta)
                .map(|over| to_alpha(&over))
                .collect::<Vec<_>>(),
            originals
        );
    }
}
