//! Pages made from the code are what the code says; `UPDATE=1` writes them anew.

use std::path::Path;

#[test]
fn the_manual_of_the_configuration_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = ottla_metadata::config::manual();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, page.as_bytes()))
            .unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is stale: UPDATE=1 cargo test -p ottla-metadata --test pages"
    );
}
