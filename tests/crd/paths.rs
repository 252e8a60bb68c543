//! Every path of both versions that Flagger has ever had is declared where the stored version can keep it.

use std::path::Path;

use super::each_node;

/// What Flagger's own v1beta1 schema prunes of v1alpha3's typed fields.
const PRUNED_BY_FLAGGER: [&str; 13] = [
    "spec.analysis.match[].uri",
    "spec.analysis.match[].scheme",
    "spec.analysis.match[].method",
    "spec.analysis.match[].authority",
    "spec.analysis.match[].port",
    "spec.analysis.match[].gateways",
    "spec.service.match[].uri.suffix",
    "spec.service.match[].scheme.suffix",
    "spec.service.match[].method.suffix",
    "spec.service.match[].authority.suffix",
    "spec.service.match[].headers{*}.suffix",
    "spec.service.trafficPolicy.connectionPool.tcp",
    "spec.service.trafficPolicy.portLevelSettings",
];

/// Paths of the stored version of Canary, as the tables write them.
fn declared() -> Vec<String> {
    let mut found = Vec::new();
    each_node(&mut |path, _| {
        if let Some(path) = path.strip_prefix("Canary v1beta1 .") {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn what_flagger_prunes_is_declared() {
    let declared = declared();
    for path in PRUNED_BY_FLAGGER {
        assert!(declared.iter().any(|found| found == path), "{path}");
    }
}

/// `a.{b,c}.d` → `a.b.d`, `a.c.d`; `{*}` stays.
fn expanded(path: &str) -> Vec<String> {
    let open = path
        .match_indices('{')
        .map(|(at, _)| at)
        .find(|at| !path[*at..].starts_with("{*}"));
    let Some(open) = open else {
        return vec![path.to_owned()];
    };
    let close = open + path[open..].find('}').unwrap();
    path[open + 1..close]
        .split(',')
        .flat_map(|word| expanded(&format!("{}{word}{}", &path[..open], &path[close + 1..])))
        .collect()
}

#[test]
fn every_path_of_the_field_tables_is_declared() {
    let declared = declared();
    let mut missing = Vec::new();
    let mut count = 0;
    for table in ["v1alpha3-fields.tsv", "v1beta1-fields.tsv"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/design")
            .join(table);
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        for row in text.lines().skip(1) {
            for path in expanded(row.split('\t').next().unwrap()) {
                count += 1;
                // Renamed by conversion; v1beta1's own struct has it for old times' sake, its schema never had.
                let path = path.replace("spec.canaryAnalysis", "spec.analysis");
                if !declared.contains(&path) {
                    missing.push(path);
                }
            }
        }
    }
    assert_eq!(missing, [""; 0], "of {count}");
}
