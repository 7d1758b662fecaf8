//! The manual of the configuration table, as one page of markdown.

use std::fmt::Write as _;

use super::TABLES;
use super::key::{Dynamic, Effect, Importance, Key, Preset, Scope, Unit};
use super::parse::valid_text;

/// The page `docs/configuration.md`.
#[must_use]
pub fn manual() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Made from the configuration table (`crates/metadata/src/config`) by `UPDATE=1 cargo test -p ottla-metadata \
         --test pages`; do not edit.\n\n\
         Every key of Apache Kafka 4.4 is known: its value is checked, stored, shown and can be changed as in \
         Kafka. The column *effect* says whether it also does what it says: **yes**, *not yet*, or *none* where it \
         is about the insides of the JVM.\n\n\
         A broker's key is set in the file, or at run time where *change* says so. Internal keys are left out.\n",
    );
    for (title, keys) in TABLES {
        let scope = keys.first().map_or(Scope::Broker, |key| key.scope);
        let stand_ins = scope != Scope::Broker;
        let column = if stand_ins { "stand-in" } else { "change" };
        let _ = write!(
            page,
            "\n## {title}\n\n| key | type | default | values | importance | {column} | effect | meaning |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        let mut rows: Vec<&Key> = keys.iter().filter(|key| !key.is_internal()).collect();
        rows.sort_by_key(|key| key.name);
        for key in rows {
            row(&mut page, key, if stand_ins { stand_in(key) } else { change(key).to_owned() });
        }
    }
    page
}

fn row(page: &mut String, key: &Key, middle: String) {
    let preset = match key.preset {
        Preset::Text("") => "\"\"".to_owned(),
        Preset::Text(text) => format!("`{text}`"),
        Preset::Null => "–".to_owned(),
        Preset::Required => "required".to_owned(),
    };
    let importance = match key.importance {
        Importance::High => "high",
        Importance::Medium => "medium",
        Importance::Low => "low",
    };
    let effect = match key.effect {
        Effect::InEffect => "**yes**",
        Effect::NotYet => "*not yet*",
        Effect::Inert => "*none*",
    };
    let kind = format!("{:?}", key.kind).to_lowercase();
    let _ = writeln!(
        page,
        "| `{}` | {kind} | {preset} | {} | {importance} | {middle} | {effect} | {} |",
        key.name,
        valid_text(&key.valid).replace('|', "\\|"),
        key.documentation
    );
}

fn change(key: &Key) -> &'static str {
    match key.dynamic {
        Dynamic::ReadOnly => "restart",
        Dynamic::PerBroker => "per broker",
        Dynamic::ClusterWide => "cluster",
    }
}

fn stand_in(key: &Key) -> String {
    let name = |synonym: &super::key::Synonym| match synonym.unit {
        Unit::Same => format!("`{}`", synonym.name),
        Unit::Minutes => format!("`{}` (minutes)", synonym.name),
        Unit::Hours => format!("`{}` (hours)", synonym.name),
    };
    key.synonyms.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn the_page_has_every_public_key_and_whole_rows() {
        let page = manual();
        for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
            for key in keys(scope).filter(|key| !key.is_internal()) {
                assert!(page.contains(&format!("| `{}` |", key.name)), "{}", key.name);
            }
        }
        for line in page.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.matches('|').count(), 9, "{line}");
        }
    }

    #[test]
    fn every_key_is_there_once_and_says_what_it_means() {
        for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
            let names: Vec<&str> = keys(scope).map(|key| key.name).collect();
            assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{scope:?}");
            for key in keys(scope) {
                assert!(key.documentation.ends_with('.') && key.documentation.len() > 15, "{}", key.name);
            }
        }
    }
}
