//! Pages made from the code are what the code says; `UPDATE=1` writes them anew.

use std::path::Path;

#[test]
fn the_page_on_compatibility_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let page = ottla_broker::api::compatibility_page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, page.as_bytes()))
            .unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == page,
        "docs/compatibility.md is stale: UPDATE=1 cargo test -p ottla-broker --test pages"
    );
}

#[test]
fn no_version_is_served_that_the_schema_does_not_have() {
    for row in ottla_broker::api::rows() {
        assert!(row.min >= row.key.min_version(), "{}", row.key.name());
        assert!(row.max <= row.key.max_stable_version(), "{}", row.key.name());
    }
}
