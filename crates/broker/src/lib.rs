//! One node as a value: sessions, API functions, shards, control.
