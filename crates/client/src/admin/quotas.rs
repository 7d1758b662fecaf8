//! Quotas and SCRAM credentials: what kafka-configs changes for users, clients and addresses.

use ottla_protocol::messages::alter_client_quotas::RequestEntryData as QuotaChange;
use ottla_protocol::messages::alter_user_scram_credentials::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::describe_client_quotas::{ComponentData, EntryData};
use ottla_protocol::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsResult, UserName,
};
use ottla_protocol::messages::{
    AlterClientQuotasRequest, AlterUserScramCredentialsRequest, DescribeClientQuotasRequest,
    DescribeUserScramCredentialsRequest,
};

use crate::cluster::Target;
use crate::error::ApiError;
use crate::operation::{Ask, Operation};

/// The quotas of exactly the entities these components describe.
pub fn describe_quotas(components: Vec<ComponentData>) -> impl Operation<Answer = Vec<EntryData>> {
    let request = DescribeClientQuotasRequest { components, strict: true };
    Ask::new("describeClientQuotas", Target::Any, request, |response| {
        ApiError::check(response.error_code, response.error_message)?;
        Ok(response.entries.unwrap_or_default())
    })
}

/// Changes quotas; the first refusal is the answer.
pub fn alter_quotas(entries: Vec<QuotaChange>) -> impl Operation<Answer = ()> {
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    Ask::new("alterClientQuotas", Target::Any, request, |response| {
        let mut entries = response.entries.into_iter();
        Ok(entries.try_for_each(|entry| ApiError::check(entry.error_code, entry.error_message))?)
    })
}

/// Which SCRAM credentials users have; of all users where none is named.
pub fn describe_scram_credentials(
    users: Vec<String>,
) -> impl Operation<Answer = Vec<DescribeUserScramCredentialsResult>> {
    let users = Some(users).filter(|users| !users.is_empty());
    let request = DescribeUserScramCredentialsRequest {
        users: users.map(|users| users.into_iter().map(|name| UserName { name }).collect()),
    };
    Ask::new("describeUserScramCredentials", Target::Any, request, |response| {
        ApiError::check(response.error_code, response.error_message)?;
        Ok(response.results)
    })
}

/// Changes SCRAM credentials, salted already; the first refusal is the answer.
pub fn alter_scram_credentials(
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> impl Operation<Answer = ()> {
    let request = AlterUserScramCredentialsRequest { deletions, upsertions };
    Ask::new("alterUserScramCredentials", Target::Controller, request, |response| {
        let mut results = response.results.into_iter();
        Ok(results.try_for_each(|result| ApiError::check(result.error_code, result.error_message))?)
    })
}
