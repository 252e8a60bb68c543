//! `manifests/crd.yaml` is what the types say.

use std::path::Path;

use verdigris::api::crd;

#[test]
fn committed_crds_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crd.yaml");
    let printed = crd::yaml();
    if std::env::var_os("VERDIGRIS_BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == printed,
        "stale: run VERDIGRIS_BLESS=1 cargo test --test crd"
    );
}
