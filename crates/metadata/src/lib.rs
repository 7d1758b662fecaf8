//! What the cluster is: image, delta and the configuration table.
