//! Users, clients and addresses: quotas, and which SCRAM credentials a user has.

use ottla_client::admin;
use ottla_client::net::Client;
use ottla_protocol::messages::alter_client_quotas::{OpData, RequestEntityData, RequestEntryData};
use ottla_protocol::messages::alter_user_scram_credentials::ScramCredentialDeletion;
use ottla_protocol::messages::describe_client_quotas::{ComponentData, EntryData};
use ottla_protocol::messages::describe_user_scram_credentials::CredentialInfo;

use super::entity::{Entities, Kind};
use super::{Changes, Trouble};
use crate::tools::Out;
use crate::tools::java;

/// Quotas of users and clients.
const QUOTAS: &[&str] =
    &["consumer_byte_rate", "controller_mutation_rate", "producer_byte_rate", "request_percentage"];

/// The quota of addresses.
const IP_QUOTAS: &[&str] = &["connection_creation_rate"];

const MECHANISMS: &[(&str, i8)] = &[("SCRAM-SHA-256", 1), ("SCRAM-SHA-512", 2)];

/// Shows quotas, and credentials where a user is asked about.
pub async fn describe(client: &Client, entities: &Entities, out: Out<'_>) -> Result<(), Trouble> {
    for entry in client.run(admin::describe_quotas(components(entities))).await? {
        writeln!(out, "{}", quota_line(&entry))?;
    }
    let about_users = !entities.kinds.contains(&Kind::Clients) && entities.kinds.contains(&Kind::Users);
    if about_users && !entities.names.iter().any(String::is_empty) {
        let users = client.run(admin::describe_scram_credentials(entities.names.clone())).await?;
        for user in users {
            let name = &user.user;
            match ottla_client::ApiError::check(user.error_code, user.error_message.clone()) {
                Ok(()) => writeln!(out, "{}", credential_line(name, &user.credential_infos))?,
                Err(error) if error.refusal == ottla_protocol::Refusal::ResourceNotFound => {}
                Err(error) => writeln!(
                    out,
                    "Error retrieving SCRAM credential configs for user-principal '{name}': {error}"
                )?,
            }
        }
    }
    Ok(())
}

/// Changes quotas, or takes credentials away.
pub async fn alter(client: &Client, entities: &Entities, changes: Changes) -> Result<(), Trouble> {
    check(entities, &changes)?;
    let scram = |name: &str| MECHANISMS.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
    if changes.add.keys().any(|name| scram(name).is_some()) {
        return Err(Trouble::user("SCRAM credentials cannot be added with this version yet."));
    }
    let deletions = changes.delete.iter().filter_map(|name| {
        scram(name).map(|mechanism| ScramCredentialDeletion { name: entities.names[0].clone(), mechanism })
    });
    let deletions: Vec<ScramCredentialDeletion> = deletions.collect();
    if !deletions.is_empty() {
        return Ok(client.run(admin::alter_scram_credentials(deletions, Vec::new())).await?);
    }
    let known = client.run(admin::describe_quotas(components(entities))).await?;
    let held = |name: &String| known.iter().flat_map(|entry| &entry.values).any(|value| value.key == *name);
    let absent: Vec<&str> = changes.delete.iter().filter(|name| !held(name)).map(String::as_str).collect();
    if !absent.is_empty() {
        return Err(Trouble::user(format!("Invalid config(s): {}", absent.join(","))));
    }
    let entity = entities.kinds.iter().zip(&entities.names).map(|(kind, name)| RequestEntityData {
        entity_type: wire_name(*kind).to_owned(),
        entity_name: Some(name.clone()).filter(|name| !name.is_empty()),
    });
    let entry = RequestEntryData { entity: entity.collect(), ops: operations(changes)? };
    Ok(client.run(admin::alter_quotas(vec![entry])).await?)
}

/// Whether a name may be changed.
type Allowed<'a> = &'a dyn Fn(&str) -> bool;

/// Which names may be changed for which kind.
fn check(entities: &Entities, changes: &Changes) -> Result<(), Trouble> {
    let is_scram = |name: &str| MECHANISMS.iter().any(|(known, _)| *known == name);
    let foreign = |allowed: Allowed<'_>, names: Vec<&String>| -> Option<String> {
        let foreign: Vec<&str> =
            names.into_iter().map(String::as_str).filter(|name| !allowed(name)).collect();
        (!foreign.is_empty()).then(|| foreign.join(","))
    };
    let (what, kind, allowed): (&str, &str, Allowed<'_>) = match entities.kinds[..] {
        [Kind::Ips] => ("connection quota", "ips", &|name| IP_QUOTAS.contains(&name)),
        [Kind::Users] => {
            ("quota and SCRAM credential", "users", &|name| QUOTAS.contains(&name) || is_scram(name))
        }
        _ => ("quota", "clients", &|name| QUOTAS.contains(&name)),
    };
    for (done, names) in
        [("added", changes.add.keys().collect()), ("deleted", changes.delete.iter().collect())]
    {
        if let Some(names) = foreign(allowed, names) {
            return Err(Trouble::user(format!(
                "Only {what} configs can be {done} for '{kind}' using --bootstrap-server. Unexpected config names: {names}"
            )));
        }
    }
    let all = || changes.add.keys().chain(&changes.delete);
    if all().any(|name| is_scram(name)) {
        if entities.names.iter().any(String::is_empty) {
            return Err(Trouble::user(
                "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
                 --bootstrap-server.",
            ));
        }
        if all().any(|name| QUOTAS.contains(&name.as_str())) {
            return Err(Trouble::user(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
                 --bootstrap-server.",
            ));
        }
    }
    Ok(())
}

fn operations(changes: Changes) -> Result<Vec<OpData>, Trouble> {
    let mut operations = Vec::new();
    for (key, text) in changes.add {
        let value = text.parse().map_err(|_| {
            Trouble::user(format!("Cannot parse quota configuration value for {key}: {text}"))
        })?;
        operations.push(OpData { key, value, remove: false });
    }
    operations.extend(changes.delete.into_iter().map(|key| OpData { key, value: 0.0, remove: true }));
    Ok(operations)
}

/// A kind without a name means every entity of it that has quotas of its own.
fn components(entities: &Entities) -> Vec<ComponentData> {
    let component = |(at, kind): (usize, &Kind)| {
        let (match_type, name) = match entities.names.get(at) {
            Some(name) if name.is_empty() => (1, None),
            Some(name) => (0, Some(name.clone())),
            None => (2, None),
        };
        ComponentData { entity_type: wire_name(*kind).to_owned(), match_type, r#match: name }
    };
    entities.kinds.iter().enumerate().map(component).collect()
}

fn wire_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Users => "user",
        Kind::Clients => "client-id",
        _ => "ip",
    }
}

fn quota_line(entry: &EntryData) -> String {
    let part = |(wire, shown): &(&str, &str)| {
        let entity = entry.entity.iter().find(|entity| entity.entity_type == *wire)?;
        Some(match entity.entity_name.as_deref() {
            None | Some("") => format!("the default {shown}"),
            Some(name) => format!("{shown} '{name}'"),
        })
    };
    let parts = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")];
    let who: Vec<String> = parts.iter().filter_map(part).collect();
    let values = java::hash_map_order(entry.values.iter().collect(), entry.values.len(), |value| &value.key);
    let values: Vec<String> = values.iter().map(|v| format!("{}={}", v.key, java::double(v.value))).collect();
    format!("Quota configs for {} are {}", who.join(", "), values.join(", "))
}

fn credential_line(user: &str, credentials: &[CredentialInfo]) -> String {
    let one = |credential: &CredentialInfo| {
        let name =
            MECHANISMS.iter().find(|(_, code)| *code == credential.mechanism).map_or("UNKNOWN", |m| m.0);
        format!("{name}=iterations={}", credential.iterations)
    };
    let all: Vec<String> = credentials.iter().map(one).collect();
    format!("SCRAM credential configs for user-principal '{user}' are {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::describe_client_quotas::{EntityData, ValueData};

    use super::*;

    #[test]
    fn a_quota_line_names_the_entity_and_writes_javas_doubles() {
        let entity = |entity_type: &str, name: Option<&str>| EntityData {
            entity_type: entity_type.to_owned(),
            entity_name: name.map(str::to_owned),
        };
        let entry = EntryData {
            entity: vec![entity("client-id", Some("c")), entity("user", None)],
            values: vec![ValueData { key: "consumer_byte_rate".to_owned(), value: 1024.0 }],
        };
        assert_eq!(
            quota_line(&entry),
            "Quota configs for the default user-principal, client-id 'c' are consumer_byte_rate=1024.0"
        );
    }

    #[test]
    fn credentials_tell_their_iterations() {
        let info = CredentialInfo { mechanism: 1, iterations: 8192 };
        assert_eq!(
            credential_line("u", &[info]),
            "SCRAM credential configs for user-principal 'u' are SCRAM-SHA-256=iterations=8192"
        );
    }

    #[test]
    fn names_that_do_not_belong_to_the_kind_are_refused() {
        let entities = |kind| Entities { kinds: vec![kind], names: vec!["x".to_owned()] };
        let add =
            |name: &str| Changes { add: [(name.to_owned(), "1".to_owned())].into(), delete: Vec::new() };
        assert!(check(&entities(Kind::Users), &add("producer_byte_rate")).is_ok());
        assert!(check(&entities(Kind::Users), &add("SCRAM-SHA-256")).is_ok());
        assert!(check(&entities(Kind::Clients), &add("SCRAM-SHA-256")).is_err());
        assert!(check(&entities(Kind::Ips), &add("producer_byte_rate")).is_err());
    }
}
