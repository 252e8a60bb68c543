//! `hack/image` makes an image that container runtimes would accept, and what is in it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn run(command: &mut Command) -> String {
    let said = command.output().unwrap();
    assert!(
        said.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    String::from_utf8(said.stdout).unwrap()
}

/// A blob, after its digest and size are found to be as its descriptor says.
fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap();
    let bytes = std::fs::read(layout.join("blobs/sha256").join(digest)).unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    assert_eq!(hex(&bytes), digest);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

#[test]
fn the_image_is_a_valid_layout_and_its_binary_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = std::env::temp_dir().join(format!("verdigris-image-{}", std::process::id()));
    let (layout, rootfs) = (work.join("layout"), work.join("rootfs"));
    for folder in [&layout, &rootfs] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let archive = work.join("image.tar");
    run(Command::new(root.join("hack/image"))
        .args(["--binary", env!("CARGO_BIN_EXE_verdigris")])
        .arg(&archive));
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&layout));

    let read =
        |file: &str| -> Value { serde_json::from_slice(&std::fs::read(layout.join(file)).unwrap()).unwrap() };
    assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = read("index.json");
    let listed = index["manifests"].as_array().unwrap();
    assert_eq!(listed.len(), 1);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        listed[0]["annotations"]["org.opencontainers.image.ref.name"],
        version
    );
    let manifest: Value = serde_json::from_slice(&blob(&layout, &listed[0])).unwrap();
    let config: Value = serde_json::from_slice(&blob(&layout, &manifest["config"])).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/verdigris"]));
    let layers = manifest["layers"].as_array().unwrap();
    let diffs = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!((layers.len(), diffs.len()), (1, 1));
    let packed = work.join("layer.tar.gz");
    std::fs::write(&packed, blob(&layout, &layers[0])).unwrap();
    run(Command::new("gzip").arg("-d").arg(&packed));
    let layer = work.join("layer.tar");
    assert_eq!(
        diffs[0],
        format!("sha256:{}", hex(&std::fs::read(&layer).unwrap()))
    );

    run(Command::new("tar").arg("-xf").arg(&layer).arg("-C").arg(&rootfs));
    let said = run(&mut inside(&rootfs));
    assert_eq!(said.trim(), format!("verdigris {version}"));
    std::fs::remove_dir_all(&work).unwrap();
}

/// `verdigris --version` with nothing but what is in the image: its own loader looks for libraries there only.
fn inside(rootfs: &Path) -> Command {
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
        .into_iter()
        .map(|place| rootfs.join(place))
        .find(|place| place.exists());
    let Some(loader) = loader else {
        let mut command = Command::new(rootfs.join("verdigris"));
        command.arg("--version");
        return command;
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    libraries(rootfs, &mut folders);
    let path: Vec<&str> = folders.iter().map(|folder| folder.to_str().unwrap()).collect();
    let mut command = Command::new(loader);
    command
        .env_clear()
        .args(["--inhibit-cache", "--library-path", &path.join(":")])
        .arg(rootfs.join("verdigris"))
        .arg("--version");
    command
}

fn libraries(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            libraries(&path, found);
        } else if path.file_name().unwrap().to_str().unwrap().contains(".so")
            && !found.contains(&below.to_owned())
        {
            found.push(below.to_owned());
        }
    }
}
