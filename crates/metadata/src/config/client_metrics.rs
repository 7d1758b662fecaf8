//! What may be set on a subscription of client metrics (KIP-714).
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// What may be set on a subscription of client metrics (KIP-714).
    ClientMetrics:
    "metrics": List = Preset::Text(""), ANY_LIST, Medium ClusterWide NotYet,
        "The prefixes of the metrics clients push; * is all of them.";
    "interval.ms": Int = Preset::Text("300000"), Valid::Any, Medium ClusterWide NotYet,
        "How often clients push their metrics.";
    "match": List = Preset::Text(""), ANY_LIST, Medium ClusterWide NotYet,
        "Which clients push: patterns such as client_id=app-.* that must all match.";
}
