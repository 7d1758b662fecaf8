//! The committed inputs: `corpus/<target>/<name>`, a handful each, among them everything that was once found.

use std::path::{Path, PathBuf};

/// The inputs of a target with their names, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn corpus(target: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}
