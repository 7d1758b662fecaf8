//! What groups have committed is moved, or what would be is shown.

use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_client::admin::OffsetSpec;
use ottla_protocol::Refusal;

use super::ask::{Asker, Committed};
use super::group::State;
use super::plan::{self, Offsets, Place, Plan, Scope};
use super::{Trouble, groups, table};
use crate::tools::options::Options;
use crate::tools::{Out, moment};

/// Makes the plan, carries it out if that is wanted, and shows it.
pub async fn reset(asker: &Asker, options: &Options, out: Out<'_>) -> Result<(), Trouble> {
    let ids = groups(asker, options).await?;
    let mut plan = Plan::new();
    for (id, described) in asker.describe(ids.clone()).await {
        let state = match described {
            Ok(group) => group.state,
            Err(error) if error.refusal() == Some(Refusal::GroupIdNotFound) => State::Dead,
            Err(error) => return Err(Trouble::executed(&error)),
        };
        let offsets = match state {
            State::Empty | State::Dead => inactive(asker, options, &id, out).await?,
            state => {
                writeln!(
                    out,
                    "\nError: Assignments can only be reset if the group '{id}' is inactive, but the current state is {}.",
                    state.name()
                )?;
                Offsets::new()
            }
        };
        plan.insert(id, offsets);
    }
    if options.has("export") {
        writeln!(out, "{}", plan::export(&plan, &ids))?;
    } else {
        out.write_all(table::reset(&plan).as_bytes())?;
    }
    Ok(())
}

/// One group without members.
async fn inactive(asker: &Asker, options: &Options, group: &str, out: Out<'_>) -> Result<Offsets, Trouble> {
    let places = places(asker, options, group).await?;
    valid(asker, &places).await?;
    let offsets = new_offsets(asker, options, group, places, out).await?;
    if options.has("execute") {
        asker.commit(group, &offsets).await?;
    }
    Ok(offsets)
}

async fn places(asker: &Asker, options: &Options, group: &str) -> Result<BTreeSet<Place>, Trouble> {
    match Scope::new(options)? {
        Scope::Committed => Ok(committed(asker, group).await?.into_keys().collect()),
        Scope::File => Ok(BTreeSet::new()),
        Scope::Topics(topics, places) => {
            let mut places: BTreeSet<Place> = places.into_iter().collect();
            for (topic, described) in asker.describe_topics(topics).await? {
                let partitions = described.map_err(|error| Trouble::said(error.to_string()))?;
                places.extend(partitions.into_iter().map(|partition| (topic.clone(), partition.index)));
            }
            Ok(places)
        }
    }
}

/// Every partition must be there and have a leader.
async fn valid(asker: &Asker, places: &BTreeSet<Place>) -> Result<(), Trouble> {
    let there = asker.partitions(places).await?;
    let names = |places: &mut dyn Iterator<Item = &Place>| -> String {
        places.map(|(topic, partition)| format!("{topic}-{partition}")).collect::<Vec<_>>().join(",")
    };
    let absent = names(&mut places.iter().filter(|place| !there.contains_key(*place)));
    if !absent.is_empty() {
        return Err(Trouble::said(format!("The partitions \"{absent}\" do not exist")));
    }
    let leaderless = names(&mut places.iter().filter(|place| there.get(*place) == Some(&None)));
    if !leaderless.is_empty() {
        return Err(Trouble::said(format!("The partitions \"{leaderless}\" have no leader")));
    }
    Ok(())
}

async fn new_offsets(
    asker: &Asker,
    options: &Options,
    group: &str,
    places: BTreeSet<Place>,
    out: Out<'_>,
) -> Result<Offsets, Trouble> {
    let value = |name: &str| options.value(name).map_err(|error| Trouble::said(error.to_string()));
    let number = |name: &str| options.number::<i64>(name).map_err(|error| Trouble::said(error.to_string()));
    let scenario = plan::SCENARIOS.iter().copied().find(|scenario| options.has(scenario));
    match scenario {
        Some("to-offset") => {
            let offset = number("to-offset")?.unwrap_or(0);
            limited(asker, places.into_iter().map(|place| (place, offset)).collect()).await
        }
        Some("to-earliest") => asker.offsets(places, OffsetSpec::Earliest).await,
        Some("to-latest") => asker.ends(places).await,
        Some("shift-by") => {
            let by = number("shift-by")?.unwrap_or(0);
            limited(asker, shifted(places, &committed(asker, group).await?, by)?).await
        }
        Some("to-datetime") => {
            let text = value("to-datetime")?.unwrap_or_default();
            let since = moment::date_time(&text)
                .map_err(|why| Trouble::said(format!("java.text.ParseException: {why}")))?;
            since_then(asker, places, since, out).await
        }
        Some("by-duration") => {
            let text = value("by-duration")?.unwrap_or_default();
            let age = moment::duration(&text).map_err(Trouble::Said)?;
            since_then(asker, places, now_ms().saturating_sub(age), out).await
        }
        Some("from-file") => {
            let path = value("from-file")?.unwrap_or_default();
            let text = fs::read_to_string(&path)
                .map_err(|_| Trouble::said(format!("java.io.IOException: Unable to read file {path}")))?;
            let mut plan = plan::read(&text, &options.values("group"))?;
            match plan.remove(group) {
                Some(offsets) => limited(asker, offsets).await,
                None => {
                    writeln!(out, "\nError: No reset plan for group {group} found.")?;
                    Ok(Offsets::new())
                }
            }
        }
        Some(_) => current(asker, places, &committed(asker, group).await?).await,
        None => {
            let names: Vec<String> = plan::SCENARIOS.iter().map(|name| format!("[{name}]")).collect();
            Err(Trouble::usage(format!(
                "Option '[reset-offsets]' requires one of the following scenarios: [{}]",
                names.join(", ")
            )))
        }
    }
}

async fn committed(asker: &Asker, group: &str) -> Result<Committed, Trouble> {
    asker.committed(group).await.map_err(|error| Trouble::executed(&error))
}

/// Moves each offset into what its partition has.
async fn limited(asker: &Asker, requested: Offsets) -> Result<Offsets, Trouble> {
    let places: BTreeSet<Place> = requested.keys().cloned().collect();
    let starts = asker.offsets(places.clone(), OffsetSpec::Earliest).await?;
    let ends = asker.ends(places).await?;
    let (offsets, warnings) = plan::within(&requested, &starts, &ends);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(offsets)
}

fn shifted(places: BTreeSet<Place>, committed: &Committed, by: i64) -> Result<Offsets, Trouble> {
    let shift = |place: Place| match committed.get(&place) {
        Some(offset) => Ok((place, offset.offset.saturating_add(by))),
        None => Err(Trouble::usage(format!(
            "Cannot shift offset for partition {}-{} since there is no current committed offset",
            place.0, place.1
        ))),
    };
    places.into_iter().map(shift).collect()
}

/// The first record not before a moment; where there is none, the end.
async fn since_then(
    asker: &Asker,
    places: BTreeSet<Place>,
    ms: i64,
    out: Out<'_>,
) -> Result<Offsets, Trouble> {
    let mut offsets = asker.offsets(places, OffsetSpec::Timestamp(ms)).await?;
    let late: BTreeSet<Place> =
        offsets.iter().filter(|(_, offset)| **offset < 0).map(|(place, _)| place.clone()).collect();
    for (topic, partition) in &late {
        writeln!(
            out,
            "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
        )?;
    }
    if !late.is_empty() {
        offsets.extend(asker.ends(late).await?);
    }
    Ok(offsets)
}

/// What is committed, or the end.
async fn current(asker: &Asker, places: BTreeSet<Place>, committed: &Committed) -> Result<Offsets, Trouble> {
    let (known, unknown): (BTreeSet<Place>, BTreeSet<Place>) =
        places.into_iter().partition(|place| committed.contains_key(place));
    let mut offsets = asker.ends(unknown).await?;
    offsets.extend(known.into_iter().filter_map(|place| {
        let offset = committed.get(&place)?.offset;
        Some((place, offset))
    }));
    Ok(offsets)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::ask::Offset;
    use super::*;

    #[test]
    fn shifting_needs_something_to_start_from() {
        let place = |partition| ("t".to_owned(), partition);
        let committed: Committed = [(place(0), Offset { offset: 10, leader_epoch: None })].into();
        let shift =
            |partitions: &[i32]| shifted(partitions.iter().map(|p| place(*p)).collect(), &committed, -4);
        assert_eq!(shift(&[0]).unwrap(), Offsets::from([(place(0), 6)]));
        assert!(matches!(
            shift(&[0, 1]),
            Err(Trouble::Usage(text)) if text == "Cannot shift offset for partition t-1 since there is no current committed offset"
        ));
    }
}
