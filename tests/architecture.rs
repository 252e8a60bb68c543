//! The wall between folders: every `crate::x` path in `src/` is checked against one table of allowed edges.
//! The table is the architecture; when it is wrong, change it and the map in `src/lib.rs` together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folder (or top-level file) → the folders of ours it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("manifest", &[]),
    ("model", &["api"]),
    ("policy", &["model"]),
    ("rollout", &["model"]),
    ("workload", &["model"]),
    ("metric", &["model"]),
    ("hook", &["model"]),
    ("notify", &["model"]),
    ("net", &[]),
    ("cluster", &["lease"]),
    ("lease", &[]),
    ("telemetry", &[]),
    ("pki", &[]),
    ("lint", &["api", "manifest", "model", "policy"]),
    ("loadtester", &["model"]),
    ("audit", &["cluster", "lease", "model", "policy", "telemetry"]),
    ("cache", &["cluster"]),
    (
        "webhook",
        &["api", "cache", "model", "policy", "pki", "net", "telemetry"],
    ),
    (
        "controller",
        &[
            "cache",
            "cluster",
            "hook",
            "lease",
            "metric",
            "model",
            "net",
            "notify",
            "policy",
            "rollout",
            "telemetry",
            "workload",
        ],
    ),
    ("console", &["cluster", "model", "rollout", "workload"]),
    ("install", &["api", "cluster", "pki", "webhook"]),
    ("migrate", &["api", "cluster", "install"]),
    (
        "app",
        &[
            "api",
            "audit",
            "cache",
            "cluster",
            "controller",
            "install",
            "lease",
            "loadtester",
            "migrate",
            "model",
            "net",
            "pki",
            "policy",
            "telemetry",
            "webhook",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "app",
            "console",
            "controller",
            "install",
            "lease",
            "lint",
            "manifest",
            "migrate",
            "model",
            "net",
            "pki",
            "notify",
            "rollout",
            "telemetry",
            "workload",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// Folders that decide or render, and the crates they must not name: a client, a socket, a task or a log.
const PURE: &[&str] = &[
    "manifest", "lint", "model", "policy", "rollout", "workload", "metric", "hook", "notify",
];
const IMPURE: &[&str] = &[
    "kube",
    "tokio",
    "reqwest",
    "hyper",
    "hyper_util",
    "axum",
    "rustls",
    "tokio_rustls",
    "tracing",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with the folder it belongs to.
fn tree() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    files
        .into_iter()
        .map(|file| {
            let inside = file.strip_prefix(&root).unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_string_lossy()
                .into_owned();
            (
                first.strip_suffix(".rs").map_or(first.clone(), str::to_owned),
                file,
            )
        })
        .collect()
}

/// Code without comments and without its test module: tests may look anywhere.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    body.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Where `word` stands as a whole word; yields what follows it.
fn after<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let inside =
            before.is_some_and(|char| char.is_alphanumeric() || matches!(char, '_' | ':' | '$' | '.'));
        (!inside).then(|| &code[at + word.len()..])
    })
}

/// The first names behind `crate::`: `crate::x` gives x, `crate::{x, y::z}` gives x and y.
fn folders_named(code: &str) -> BTreeSet<String> {
    let name = |text: &str| {
        text.trim()
            .chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect()
    };
    let mut names: BTreeSet<String> = BTreeSet::new();
    for rest in after(code, "crate::") {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for char in group.chars() {
            match char {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    names.insert(name(&std::mem::take(&mut item)));
                }
                _ if depth == 0 => item.push(char),
                _ => {}
            }
        }
        names.insert(name(&item));
    }
    names.remove("");
    names
}

#[test]
fn dependencies_point_the_allowed_way() {
    let table: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let tree = tree();
    let folders: BTreeSet<&String> = tree.iter().map(|(folder, _)| folder).collect();
    let mut wrong = Vec::new();
    for (folder, file) in &tree {
        let Some(allowed) = table.get(folder.as_str()) else {
            wrong.push(format!("{}: folder {folder} is not in the table", file.display()));
            continue;
        };
        for name in folders_named(&code(&fs::read_to_string(file).unwrap())) {
            if folders.contains(&name) && name != *folder && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: {folder} may not know {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_folders_name_no_client_socket_task_or_log() {
    let mut wrong = Vec::new();
    for (folder, file) in tree() {
        if !PURE.contains(&folder.as_str()) {
            continue;
        }
        let code = code(&fs::read_to_string(&file).unwrap());
        for name in IMPURE {
            if after(&code, &format!("{name}::")).next().is_some() {
                wrong.push(format!("{}: {folder} is pure and names {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scanner_sees_what_it_should() {
    let text = "use crate::model::canary;\nuse crate::{api::v1beta1::{Canary, X}, net};\n// crate::app\n\
                let x = crate::rollout::y();\n#[cfg(test)]\nmod tests { use crate::lint; }";
    let names = folders_named(&code(text));
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["api", "model", "net", "rollout"]
    );
    assert_eq!(after("tokio::spawn(x); my_tokio::y", "tokio::").count(), 1);
}
