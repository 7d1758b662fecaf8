//! Features: their levels at a release, what they need, what a new cluster begins with.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ottla_metadata::features::{self, KRAFT_VERSION, LEVELS, METADATA_VERSION, MetadataVersion, SUPPORTED};

use crate::tools::failure::Failure;

/// In the order in which Kafka's tool tells them, after metadata.version.
const ORDER: [&str; 6] = [
    KRAFT_VERSION,
    features::TRANSACTION_VERSION,
    features::GROUP_VERSION,
    features::ELR_VERSION,
    features::SHARE_VERSION,
    features::STREAMS_VERSION,
];

/// The release version of this name, or the newest.
pub fn release(name: Option<&str>) -> Result<MetadataVersion, Failure> {
    let Some(name) = name else { return Ok(MetadataVersion::LATEST) };
    MetadataVersion::from_name(name).ok_or_else(|| {
        let known: Vec<String> = LEVELS.iter().map(|row| format!("{}-{}", row.release, row.step)).collect();
        let known = known.join(", ");
        Failure::Error(format!("Unknown metadata.version '{name}'. Supported metadata.version are: {known}"))
    })
}

/// `version-mapping`: the levels that a release begins with.
pub fn mapping(name: Option<&str>) -> Result<String, Failure> {
    let version = release(name)?;
    let shown = name.map_or_else(|| version.name(), str::to_owned);
    let mut lines = format!("{METADATA_VERSION}={} ({shown})\n", version.level());
    let defaults = features::defaults_at(version);
    for feature in ORDER {
        let level = defaults.iter().find(|(name, _)| *name == feature).map_or(0, |(_, level)| *level);
        let level = if feature == KRAFT_VERSION { kraft_default(version) } else { level };
        let _ = writeln!(lines, "{feature}={level}");
    }
    Ok(lines)
}

/// Quorums name their voters themselves since 3.9.
fn kraft_default(version: MetadataVersion) -> i16 {
    i16::from(MetadataVersion::from_name("3.9-IV0").is_some_and(|since| version >= since))
}

/// `feature-dependencies`: what must be there before a feature can have a level.
pub fn dependencies(text: &str) -> Result<String, Failure> {
    let error = |message: String| Err(Failure::Error(message));
    let Some((name, level)) = text.split_once('=') else {
        return error(format!(
            "Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')"
        ));
    };
    let (name, text) = (name.trim(), level.trim());
    let Ok(level) = text.parse::<i16>() else {
        return error(format!("Invalid version format: {text} for feature {name}"));
    };
    if name == METADATA_VERSION {
        return match MetadataVersion::from_level(level) {
            Some(version) => Ok(format!("{name}={level} ({}) has no dependencies.\n", version.name())),
            None => error(format!("Unknown metadata.version {level}")),
        };
    }
    if !ORDER.contains(&name) {
        return error(format!("Unknown feature: {name}"));
    }
    if !features::supported(name).contains(level) {
        return error(format!("Feature level {level} is not supported for feature {name}"));
    }
    let needed = features::dependencies(name, level);
    if needed.is_empty() {
        return Ok(format!("{name}={level} has no dependencies.\n"));
    }
    let mut lines = format!("{name}={level} requires:\n");
    for (other, least) in needed {
        let version = MetadataVersion::from_level(least).filter(|_| other == METADATA_VERSION);
        let version = version.map_or(String::new(), |version| format!(" ({})", version.name()));
        let _ = writeln!(lines, "    {other}={least}{version}");
    }
    Ok(lines)
}

/// Whether the quorum names its voters itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voters {
    /// They stand in every node's configuration.
    Configured,
    /// They stand in the log (KIP-853).
    InTheLog,
}

/// The levels that a cluster begins with: metadata.version, and every other feature above 0 but kraft.version.
pub fn initial(
    release_name: Option<&str>,
    settings: &[&str],
    voters: Voters,
) -> Result<(MetadataVersion, BTreeMap<String, i16>), Failure> {
    let error = |message: String| Err(Failure::Error(message));
    let mut asked =
        settings.iter().map(|text| name_and_level(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let version = match (asked.remove(METADATA_VERSION), release_name) {
        (Some(_), Some(_)) => {
            return error(
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity."
                    .to_owned(),
            );
        }
        (Some(level), None) => match MetadataVersion::from_level(level) {
            Some(version) => version,
            None => return error(format!("No MetadataVersion with feature level {level}")),
        },
        (None, name) => release(name)?,
    };
    if version > MetadataVersion::LATEST {
        return error(format!("metadata.version {} is not yet stable.", version.name()));
    }
    if let Some(unknown) = asked.keys().find(|name| !SUPPORTED.iter().any(|(known, _)| known == name)) {
        let mut known: Vec<&str> = ORDER.to_vec();
        known.sort_unstable();
        return error(format!(
            "Unsupported feature: {unknown}. Supported features are: {}",
            known.join(", ")
        ));
    }
    check_kraft(asked.remove(KRAFT_VERSION), voters)?;
    let mut levels = BTreeMap::from([(METADATA_VERSION.to_owned(), version.level())]);
    levels.extend(features::defaults_at(version).into_iter().map(|(name, level)| (name.to_owned(), level)));
    levels.extend(asked);
    for (name, level) in levels.iter().filter(|(name, _)| *name != METADATA_VERSION) {
        if !features::supported(name).contains(*level) {
            let most = features::supported(name).max;
            return error(format!("No feature:{name} with feature level {level}, the highest is {most}"));
        }
        if let Some(missing) = features::missing_dependency(name, *level, &levels) {
            return error(missing);
        }
    }
    levels.retain(|_, level| *level > 0);
    Ok((version, levels))
}

/// kraft.version follows from how the voters are found; saying it is allowed, contradicting it is not.
fn check_kraft(asked: Option<i16>, voters: Voters) -> Result<(), Failure> {
    match (asked, voters) {
        (Some(0), Voters::InTheLog) => Err(Failure::Error(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, \
             --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing \
             the --feature flag for kraft.version."
                .to_owned(),
        )),
        (Some(level), Voters::Configured) if level != 0 => Err(Failure::Error(format!(
            "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and one of the flags \
             --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, \
             try using one of --standalone, --initial-controllers, or --no-initial-controllers and removing \
             controller.quorum.voters."
        ))),
        _ => Ok(()),
    }
}

fn name_and_level(text: &str) -> Result<(String, i16), Failure> {
    let failed = |why: String| Failure::Error(format!("Can't parse feature=level string {text}: {why}"));
    let (name, level) = text.split_once('=').ok_or_else(|| failed("equals sign not found.".to_owned()))?;
    let level = level.trim();
    let number = level.parse().map_err(|_| failed(format!("unable to parse {level} as a short.")))?;
    Ok((name.trim().to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(failure: Failure) -> String {
        failure.message().to_owned()
    }

    #[test]
    fn a_release_has_its_features() {
        let expected = "metadata.version=21 (3.9)\nkraft.version=1\ntransaction.version=0\ngroup.version=0\n\
                        eligible.leader.replicas.version=0\nshare.version=0\nstreams.version=0\n";
        assert_eq!(mapping(Some("3.9")).unwrap(), expected);
        let latest = mapping(None).unwrap();
        assert!(latest.starts_with(&format!(
            "metadata.version={} ({})\nkraft.version=1\ntransaction.version=2\ngroup.version=1\n",
            MetadataVersion::LATEST.level(),
            MetadataVersion::LATEST.name()
        )));
        let unknown = message(mapping(Some("3.0")).unwrap_err());
        assert!(unknown.starts_with(
            "Unknown metadata.version '3.0'. Supported metadata.version are: 3.3-IV3, 3.4-IV0,"
        ));
    }

    #[test]
    fn dependencies_are_told_feature_by_feature() {
        assert_eq!(dependencies("group.version=1").unwrap(), "group.version=1 has no dependencies.\n");
        assert_eq!(
            dependencies("metadata.version=20").unwrap(),
            "metadata.version=20 (3.8-IV0) has no dependencies.\n"
        );
        assert_eq!(
            dependencies("eligible.leader.replicas.version=1").unwrap(),
            "eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\n"
        );
        for (text, expected) in [
            ("foo=1", "Unknown feature: foo"),
            ("group.version=9", "Feature level 9 is not supported for feature group.version"),
            ("group.version=x", "Invalid version format: x for feature group.version"),
            ("metadata.version=1", "Unknown metadata.version 1"),
        ] {
            assert_eq!(message(dependencies(text).unwrap_err()), expected);
        }
    }

    #[test]
    fn a_cluster_begins_with_a_releases_features_and_those_asked_for() {
        let (version, levels) = initial(Some("4.1"), &["transaction.version=1"], Voters::Configured).unwrap();
        assert_eq!(version.name(), "4.1-IV1");
        let levels: Vec<(&str, i16)> = levels.iter().map(|(name, level)| (name.as_str(), *level)).collect();
        assert_eq!(
            levels,
            [
                ("eligible.leader.replicas.version", 1),
                ("group.version", 1),
                ("metadata.version", 27),
                ("transaction.version", 1)
            ]
        );
        let refused =
            |release, settings: &[&str], voters| message(initial(release, settings, voters).unwrap_err());
        assert!(
            refused(Some("3.9"), &["metadata.version=20"], Voters::Configured)
                .starts_with("Use --release-version")
        );
        assert!(
            refused(None, &["foo=1"], Voters::Configured)
                .starts_with("Unsupported feature: foo. Supported features are: eligible")
        );
        assert!(
            refused(None, &["kraft.version=1"], Voters::Configured)
                .starts_with("Cannot set kraft.version to 1")
        );
        assert!(
            refused(None, &["kraft.version=0"], Voters::InTheLog)
                .starts_with("Cannot set kraft.version to 0")
        );
        assert!(
            refused(Some("3.9"), &["eligible.leader.replicas.version=1"], Voters::Configured)
                .contains("depends on metadata.version level 23")
        );
        assert_eq!(
            refused(None, &["foo"], Voters::Configured),
            "Can't parse feature=level string foo: equals sign not found."
        );
    }
}
