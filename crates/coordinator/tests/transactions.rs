//! The transaction coordinator under test: by scripts, and by producers on a bad network.

#[path = "transaction/clients.rs"]
mod clients;
#[path = "transaction/many_rows.rs"]
mod many_rows;
#[path = "transaction/partition.rs"]
mod partition;
#[path = "transaction/properties.rs"]
mod properties;
#[path = "transaction/script.rs"]
mod script;
#[path = "transaction/scripts.rs"]
mod scripts;
mod traces;
#[path = "transaction/world.rs"]
mod world;
