//! Manifests of our own, one per shape that Flagger's history holds, and what they become.
//!
//! `VERDIGRIS_BLESS=1` writes the expected files anew.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{ALPHA, BETA, convert, stash_of};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conversion")
}

fn walk(from: &str, to: &str) {
    let (source, target) = (from.rsplit('/').next().unwrap(), to.rsplit('/').next().unwrap());
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder().join(source))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(object["apiVersion"], from, "{}", path.display());
        let over = convert(object.clone(), to).unwrap();
        let printed = serde_saphyr::to_string(&over).unwrap();
        let expected = folder()
            .join("expected")
            .join(target)
            .join(path.file_name().unwrap());
        if std::env::var_os("VERDIGRIS_BLESS").is_some() {
            std::fs::create_dir_all(expected.parent().unwrap()).unwrap();
            std::fs::write(&expected, &printed).unwrap();
        }
        assert_eq!(
            printed,
            std::fs::read_to_string(&expected).unwrap(),
            "{}",
            expected.display()
        );
        let back = convert(over.clone(), from).unwrap();
        assert_eq!(back, object, "{}: back", path.display());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(
            stash_of(&over).is_some(),
            name.contains("stash"),
            "{}: the name says whether a stash is needed",
            path.display()
        );
        count += 1;
    }
    assert!(count >= 8, "{count} manifests at {from}");
}

#[test]
fn v1alpha3_manifests_become_v1beta1() {
    walk(ALPHA, BETA);
}

#[test]
fn v1beta1_manifests_become_v1alpha3() {
    walk(BETA, ALPHA);
}
