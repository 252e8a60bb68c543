//! Real manifests of Flagger's history, where they are at hand: in `$VERDIGRIS_CORPUS`, or beside this repository in
//! `shared/corpus`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{ALPHA, BETA, bare, server, stash_of, to_alpha, to_beta};

/// Every Canary of the corpus, with its file.
pub(crate) fn canaries() -> Vec<(PathBuf, Value)> {
    let beside = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        root.ancestors()
            .map(|parent| parent.join("shared/corpus"))
            .find(|path| path.is_dir())
    };
    let Some(corpus) = std::env::var_os("VERDIGRIS_CORPUS")
        .map(PathBuf::from)
        .or_else(beside)
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for folder in [corpus.clone(), corpus.join("v1alpha3"), corpus.join("v1beta1")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            let canary = |document: &Value| {
                document["kind"] == "Canary"
                    && document["apiVersion"]
                        .as_str()
                        .is_some_and(|version| version == ALPHA || version == BETA)
            };
            found.extend(
                documents
                    .into_iter()
                    .filter(canary)
                    .map(|document| (path.clone(), document)),
            );
        }
    }
    found
}

#[test]
fn every_real_manifest_goes_over_and_comes_back() {
    for (path, object) in canaries() {
        if object["apiVersion"] == ALPHA {
            let over = to_beta(&object);
            assert_eq!(stash_of(&over), None, "{}", path.display());
            assert_eq!(server::prune(&over), over, "{}", path.display());
            assert!(over["spec"]["analysis"].is_object() && over["spec"].get("canaryAnalysis").is_none());
            assert_eq!(to_alpha(&over), object, "{}", path.display());
        } else {
            // Some real v1beta1 manifests carry fields no schema declares; the API server drops them first.
            let object = server::prune(&object);
            assert_eq!(
                bare(&to_beta(&to_alpha(&object))),
                bare(&object),
                "{}",
                path.display()
            );
        }
    }
}
