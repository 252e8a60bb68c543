use super::*;
use serde_json::json;

fn file(name: &str, text: &str) -> File {
    File {
        name: name.to_owned(),
        text: text.to_owned(),
        named: true,
        obeyed: false,
    }
}

fn judged(files: &[File]) -> Outcome {
    lint(files, &Options::default())
}

/// `file:line:column level code path` of each finding.
fn found(outcome: &Outcome) -> Vec<String> {
    outcome
        .diagnostics
        .iter()
        .map(|one| {
            format!(
                "{}:{}:{} {} {} {}",
                one.file,
                one.region.line,
                one.region.column,
                one.level.as_str(),
                one.code,
                one.path
            )
        })
        .collect()
}

const CANARY: &str = r#"apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: shop
  namespace: prod
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  service:
    port: 8080
  analysis:
    interval: 30s
    threshold: 3
    iterations: 5
    metrics:
    - name: errors
      interval: 1m
      thresholdRange: {max: 1}
      query: |
        sum(
          rate(requests_total{app="shop",code=~"5.*"}[1m])
        )
    webhooks:
    - name: smoke
      type: pre-rollout
      url: http://tester.prod/
"#;

/// The Canary with a part of its text replaced.
fn with(old: &str, new: &str) -> String {
    assert!(CANARY.contains(old), "{old}");
    CANARY.replace(old, new)
}

#[test]
fn a_good_manifest_says_nothing() {
    let outcome = judged(&[file("a.yaml", CANARY)]);
    assert_eq!(found(&outcome), [""; 0]);
    assert_eq!((outcome.judged, outcome.unjudged.len()), (1, 0));
}

#[test]
fn findings_point_at_the_value_the_key_or_what_is_nearest() {
    for (old, new, expected) in [
        (
            "port: 8080",
            "port: 808080",
            "9:11 error port-range spec.service.port",
        ),
        (
            "threshold: 3",
            "threshold: \"3\"",
            "12:16 error wrong-type spec.analysis.threshold",
        ),
        (
            "threshold: 3",
            "treshold: 3\n    threshold: 3",
            "12:5 warning unknown-field spec.analysis.treshold",
        ),
        (
            "interval: 30s\n",
            "\n",
            "10:3 warning interval-absent spec.analysis.interval",
        ),
        (
            "    port: 8080\n",
            "    {}\n",
            "8:3 error port-range spec.service.port",
        ),
        (
            "      url: http://tester.prod/\n",
            "",
            "23:7 error required spec.analysis.webhooks[0].url",
        ),
        (", name: shop}", "}", "7:3 error required spec.targetRef.name"),
        (
            "url: http://tester.prod/",
            "url: >-\n        not a\n        url",
            "26:9 error url-format spec.analysis.webhooks[0].url",
        ),
        ("  name: shop\n", "", "3:1 error required metadata.name"),
    ] {
        let outcome = judged(&[file("a", &with(old, new))]);
        assert_eq!(found(&outcome), [format!("a:{expected}")], "{new}");
    }
    let outcome = judged(&[file(
        "a",
        "kind: Canary\napiVersion: flagger.app/v1beta1\nmetadata: {name: a}\n",
    )]);
    assert_eq!(found(&outcome), ["a:1:7 error required spec"]);
}

#[test]
fn a_query_is_shown_where_it_breaks_however_it_is_written() {
    let block = CANARY.find("query: |").unwrap();
    let (before, after) = CANARY.split_at(block);
    let after = &after[after.find("    webhooks:").unwrap()..];
    for (query, line, column) in [
        (
            "query: |\n        sum(\n          up{a=\"b\" c=\"d\"}\n        )\n",
            20,
            19,
        ),
        ("query: |-4\n          sum(up{a=\"b\" c=\"d\"})\n", 19, 23),
        (
            "query: >\n        sum(\n        up{a=\"b\" c=\"d\"}\n\n        )\n",
            20,
            17,
        ),
        ("query: 'sum(up{a=\"b\" c=\"d\"})'\n", 18, 27),
        ("query: \"sum(up{a=\\\"b\\\" c=\\\"d\\\"})\"\n", 18, 29),
        ("query: \"sum(\\n  up{a='b' c='d'})\"\n", 18, 31),
        ("query: \"sum(up{a='b' \\\n        c='d'})\"\n", 18, 27),
        ("query: sum(up\n        {a='b' c='d'})\n", 19, 15),
        ("{query: 1}: x\n      query: sum(up{a='ä' c='d'})\n", 0, 0),
    ] {
        let outcome = judged(&[file("a", &format!("{before}{query}{after}"))]);
        if line == 0 {
            // No manifest: a key that is a mapping.
            assert!(!outcome.unjudged.is_empty(), "{query}");
            continue;
        }
        assert_eq!(
            found(&outcome),
            [format!(
                "a:{line}:{column} error promql-syntax spec.analysis.metrics[0].query"
            )],
            "{query}"
        );
        let caret = outcome.diagnostics[0].snippet.lines().nth(1).unwrap();
        assert_eq!(
            caret.trim_end(),
            format!("{}^", " ".repeat(column - 1)),
            "{query}"
        );
    }
}

#[test]
fn anchors_and_merge_keys_point_to_where_the_text_stands() {
    let text = r"
apiVersion: v1
kind: List
common: &common
  interval: 1m
  threshold: -1
items:
- apiVersion: flagger.app/v1beta1
  kind: Canary
  metadata: {name: a}
  spec:
    targetRef: &target {kind: Deployment, name: Bad_Name, apiVersion: apps/v1}
    service: {port: 80, name: ok}
    analysis:
      <<: *common
      iterations: 2
      metrics: []
- apiVersion: flagger.app/v1beta1
  kind: Canary
  metadata: {name: b}
  spec: {targetRef: *target, service: {port: 80, name: ok}, analysis: {interval: 1m, threshold: 1, iterations: 2}}
";
    let outcome = judged(&[file("a", text)]);
    assert_eq!(outcome.unjudged, []);
    let errors: Vec<_> = found(&outcome)
        .into_iter()
        .filter(|line| line.contains(" error "))
        .collect();
    assert_eq!(
        errors,
        [
            "a:6:14 error threshold-not-positive spec.analysis.threshold",
            "a:12:49 error object-name spec.targetRef.name",
            "a:12:49 error object-name spec.targetRef.name",
        ]
    );
}

#[test]
fn each_document_and_version_is_read_in_its_own_words() {
    let old = CANARY
        .replace("v1beta1", "v1alpha3")
        .replace("analysis:", "canaryAnalysis:")
        .replace("thresholdRange: {max: 1}", "threshold: 1")
        .replace("threshold: 3", "treshold: 3");
    let text = format!(
        "# first\n---\nkind: Service\n---\n{old}---\n{}",
        with("port: 8080", "port: 0")
    );
    let outcome = judged(&[file("a", &text)]);
    let documents: Vec<_> = outcome.diagnostics.iter().map(|one| one.document).collect();
    assert_eq!(
        found(&outcome),
        [
            "a:14:3 warning threshold-absent spec.canaryAnalysis.threshold",
            "a:16:5 warning unknown-field spec.canaryAnalysis.treshold",
            "a:39:11 error port-range spec.service.port",
        ],
        "{documents:?}"
    );
    for (version, fix) in [
        ("v1alpha1", "verdigris convert"),
        ("v1", "write flagger.app/v1beta1"),
    ] {
        let outcome = judged(&[file("a", &CANARY.replace("v1beta1", version))]);
        assert_eq!(found(&outcome), ["a:1:13 error unknown-value apiVersion"]);
        assert!(
            outcome.diagnostics[0].fix.contains(fix),
            "{:?}",
            outcome.diagnostics[0]
        );
    }
    let outcome = judged(&[file("a", &CANARY.replace("kind: Canary", "kind: Canery"))]);
    assert_eq!(found(&outcome), ["a:2:7 error unknown-value kind"]);
}

#[test]
fn what_cannot_be_judged_is_told_with_its_place() {
    let helm = CANARY.replace("port: 8080", "port: {{ .Values.port }}");
    let outcome = judged(&[
        file("helm.yaml", &helm),
        file("broken.yaml", "kind: Canary\nspec: [1, 2\n"),
        file(
            "twice.yaml",
            "kind: Canary\napiVersion: flagger.app/v1beta1\nkind: Canary\n",
        ),
        file("good.yaml", CANARY),
    ]);
    let told: Vec<_> = outcome
        .unjudged
        .iter()
        .map(|one| (one.file.as_str(), one.place.map(|(line, _)| line)))
        .collect();
    assert_eq!(told[0], ("helm.yaml", Some(9)));
    assert!(
        outcome.unjudged[0].message.contains("helm template"),
        "{outcome:?}"
    );
    assert_eq!((told[1].0, told[2]), ("broken.yaml", ("twice.yaml", Some(3))));
    assert_eq!(outcome.judged, 1);
    // Come upon in a directory, a text about other things is passed over; one about ours is not.
    let upon = |text: &str| File {
        named: false,
        ..file("x.yaml", text)
    };
    let outcome = judged(&[upon("a: {{ .Values.b }}"), upon(&helm)]);
    assert_eq!((outcome.passed_over, outcome.unjudged.len()), (1, 1));
    // Flagger's own templates are no Helm.
    let query = with("rate(", "rate(x{a=\"{{ target }}\"}[{{interval}}]) + rate(");
    assert_eq!(judged(&[file("a", &query)]).unjudged, []);
}

const TARGET: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: prod}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: shop, readinessProbe: {httpGet: {port: 8080}}, ports: [{name: http, containerPort: 8080}]}
";

#[test]
fn files_are_surroundings_of_each_other() {
    let around = |more: &str, canary: &str| found(&judged(&[file("d/a", canary), file("d/b", more)]));
    assert_eq!(around(TARGET, CANARY), [""; 0]);
    for (more, canary, expected) in [
        // One of its kind beside it: a missing one is likely misspelt.
        (
            TARGET,
            with("name: shop}", "name: shpo}"),
            "7:60 warning target-absent spec.targetRef.name",
        ),
        (
            TARGET,
            with("port: 8080", "port: 80\n    targetPort: htpp"),
            "10:17 error target-port-unknown spec.service.targetPort",
        ),
        (
            "kind: HorizontalPodAutoscaler\nmetadata: {name: shop, namespace: prod}\nspec: {scaleTargetRef: {name: shop}}",
            CANARY.to_owned(),
            "6:1 warning autoscaler-not-referenced spec.autoscalerRef",
        ),
        (
            &CANARY.replace("  name: shop\n", "  name: other\n"),
            CANARY.to_owned(),
            "7:3 error target-taken spec.targetRef",
        ),
        (
            "kind: MetricTemplate\napiVersion: flagger.app/v1beta1\nmetadata: {name: t, namespace: prod}\n\
             spec: {provider: {type: prometheus, address: 'http://p'}, query: 'up{a=\"{{ target }}\",b=\"{{ variables.b }}\"}'}",
            with(
                "query: |\n        sum(\n          rate(requests_total{app=\"shop\",code=~\"5.*\"}[1m])\n        )\n",
                "templateRef: {name: t}\n",
            ),
            "15:7 error template-variable spec.analysis.metrics[0].templateVariables.b",
        ),
    ] {
        let findings = around(more, &canary);
        assert_eq!(findings[0], format!("d/a:{expected}"), "{findings:?}");
        let alone = found(&judged(&[file("d/a", &canary)]));
        assert!(!alone.iter().any(|line| line.contains(expected)), "{alone:?}");
    }
    // Another directory is another cluster; what two files say differently is not known.
    let taken = CANARY.replace("  name: shop\n", "  name: other\n");
    assert_eq!(
        found(&judged(&[file("d/a", CANARY), file("e/b", &taken)])),
        [""; 0]
    );
    let again = taken.replace("port: 8080", "port: 8081");
    assert_eq!(
        found(&judged(&[
            file("d/a", CANARY),
            file("d/b", &taken),
            file("d/c", &again)
        ]))
        .len(),
        2,
        "only those that are defined twice see the one that is not"
    );
}

#[test]
fn the_words_for_what_is_missing_are_about_files() {
    let outcome = judged(&[file("a", &with("name: shop}", "name: shpo}")), file("b", TARGET)]);
    assert_eq!(
        outcome.diagnostics[0].message,
        "Deployment shpo is not among the given files, while others of its kind are; nothing happens until the target exists"
    );
}

#[test]
fn the_provider_can_be_made_certain() {
    let text = with("iterations: 5", "stepWeight: 5");
    let options = |settings| Options {
        settings,
        ..Options::default()
    };
    let open = lint(&[file("a", &text)], &options(Settings::default()));
    assert_eq!((open.count(Level::Error), open.count(Level::Warning)), (0, 1));
    let certain = Settings {
        provider_is_certain: true,
        ..Settings::default()
    };
    assert_eq!(
        lint(&[file("a", &text)], &options(certain)).count(Level::Error),
        1
    );
}

#[test]
fn policies_are_obeyed_and_judged() {
    let policy = "apiVersion: verdigris.dev/v1alpha1\nkind: CanaryPolicy\nmetadata: {name: slow}\n\
                  spec:\n  mode: Enforce\n  limits:\n    interval: {min: 1m}\n  defaults: {analysis: {threshold: 7}}\n";
    let obeyed = File {
        obeyed: true,
        ..file("p.yaml", policy)
    };
    let old = CANARY
        .replace("v1beta1", "v1alpha3")
        .replace("analysis:", "canaryAnalysis:")
        .replace("thresholdRange: {max: 1}", "threshold: 1");
    let outcome = judged(&[obeyed.clone(), file("a", CANARY), file("b", &old)]);
    assert_eq!(
        found(&outcome),
        [
            "a:11:15 error policy-limits spec.analysis.interval",
            "b:11:15 error policy-limits spec.canaryAnalysis.interval",
        ]
    );
    assert!(
        outcome.diagnostics[0].message.contains("slow"),
        "{:?}",
        outcome.diagnostics[0]
    );
    // Lying among the files it is judged and not obeyed; its defaults are there when it is obeyed.
    assert_eq!(
        found(&judged(&[file("p.yaml", policy), file("a", CANARY)])),
        [""; 0]
    );
    let open = with("    threshold: 3\n", "").replace("interval: 30s", "interval: 2m");
    assert_eq!(
        found(&judged(&[obeyed.clone(), file("a", &open)])).len(),
        1,
        "7 is above the checks of a run"
    );
    assert!(found(&judged(&[file("a", &open)]))[0].contains("threshold-absent"));
    let broken = file("p.yaml", &policy.replace("limits:", "limit:"));
    let found = found(&judged(&[broken]));
    assert!(
        found.iter().any(|line| line.starts_with("p.yaml:6:3 ")),
        "{found:?}"
    );
    let empty = File {
        text: CANARY.to_owned(),
        ..obeyed
    };
    assert!(
        judged(&[empty]).unjudged[0]
            .message
            .contains("holds no CanaryPolicy")
    );
}

/// Two findings and a file that cannot be read.
fn outcome() -> Outcome {
    let text =
        with("app=\"shop\",", "app=\"shop\" ").replace("threshold: 3", "threshold: 30\n    colour: red");
    judged(&[file("dir/a b.yaml", &text), file("broken.yaml", "kind: [\n")])
}

#[test]
fn a_report_for_people() {
    let outcome = judged(&[file(
        "shop.yaml",
        &with("app=\"shop\",", "app=\"shop\" ")
            .replace("    interval: 30s\n", "    interval: 2s\n    colour: red\n"),
    )]);
    insta::assert_snapshot!(text(&outcome, false), @r#"
    shop.yaml:11:15: warning: spec.analysis.interval: 2s is below 10s; it is raised to 10s; write 10s or more [interval-below-minimum]
      11 |     interval: 2s
         |               ^^
    shop.yaml:12:5: warning: spec.analysis.colour: unknown field; the API server drops fields it does not know; remove it [unknown-field]
      12 |     colour: red
         |     ^^^^^^
    shop.yaml:21:41: error: spec.analysis.metrics[0].query: no comma before the label `code`; expected a comma between label matchers; add a comma after `app="shop"` [promql-syntax]
      21 |           rate(requests_total{app="shop" code=~"5.*"}[1m])
         |                                         ^
    "#);
    let painted = text(&outcome, true);
    assert!(painted.contains("\u{1b}[1;31merror:\u{1b}[0m") && painted.matches("\u{1b}[0m").count() >= 8);
    assert!(!text(&outcome, false).contains('\u{1b}'));
}

#[test]
fn a_report_for_programs() {
    let rows: Value = serde_json::from_str(&json(&outcome())).unwrap();
    let row = &rows[2];
    assert_eq!(
        row.as_object().unwrap().keys().collect::<Vec<_>>(),
        [
            "file",
            "document",
            "kind",
            "namespace",
            "name",
            "severity",
            "code",
            "path",
            "message",
            "fix",
            "line",
            "column"
        ]
    );
    assert_eq!(
        (
            &row["file"],
            &row["document"],
            &row["kind"],
            &row["namespace"],
            &row["name"]
        ),
        (
            &json!("dir/a b.yaml"),
            &json!(1),
            &json!("Canary"),
            &json!("prod"),
            &json!("shop")
        )
    );
    assert_eq!(
        (&row["severity"], &row["code"]),
        (&json!("error"), &json!("promql-syntax"))
    );
    assert_eq!((&row["line"], &row["column"]), (&json!(21), &json!(41)));
    assert_eq!(json(&judged(&[])), "[]\n");
}

#[test]
fn a_report_for_github() {
    let report = github(&outcome());
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 4, "{report}");
    assert!(
        lines[2].starts_with("::error file=dir/a b.yaml,line=21,endLine=21,col=41,endColumn=42,title=promql-syntax::spec.analysis.metrics[0].query: "),
        "{report}"
    );
    assert!(lines[3].starts_with("::error file=broken.yaml,line="), "{report}");
    let odd = Unjudged {
        file: "a:b,c%.yaml".to_owned(),
        place: None,
        message: "one\ntwo 100%".to_owned(),
    };
    let outcome = Outcome {
        unjudged: vec![odd],
        ..Outcome::default()
    };
    assert_eq!(
        github(&outcome),
        "::error file=a%3Ab%2Cc%25.yaml,title=unreadable::one%0Atwo 100%25\n"
    );
}

#[test]
fn a_report_for_scanners() {
    let log: Value = serde_json::from_str(&sarif(&outcome())).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), rules::ALL.len());
    let result = &run["results"][2];
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[index]["id"], result["ruleId"]);
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "dir/a%20b.yaml");
    assert_eq!(
        place["region"],
        json!({"startLine": 21, "startColumn": 41, "endLine": 21, "endColumn": 41})
    );
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(
        invocation["toolExecutionNotifications"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_file_with_thousands_of_findings_is_cut() {
    let broken = with("port: 8080", "port: -1");
    let text = vec![broken.as_str(); 1200].join("---\n");
    let outcome = judged(&[file("a", &text)]);
    assert_eq!((outcome.diagnostics.len(), outcome.hidden), (1000, 200));
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is in a file, nothing panics, and every finding lies inside it.
        #[test]
        fn never_panics(
            at in 0usize..CANARY.len(),
            piece in "[a-z:{}\\[\\]\"'|>&*#\\-\\n ]{0,8}",
            drop in 0usize..12,
        ) {
            let mut text = CANARY.to_owned();
            text.replace_range(at..(at + drop).min(CANARY.len()), &piece);
            let outcome = judged(&[file("a", &text)]);
            for one in &outcome.diagnostics {
                prop_assert!(one.region.line >= 1 && one.region.line <= text.lines().count() + 1);
                prop_assert!(one.region.column >= 1);
            }
            for report in [json(&outcome), sarif(&outcome), github(&outcome), super::text(&outcome, true)] {
                prop_assert!(report.len() < 1_000_000);
            }
        }
    }
}
