//! A partition's bytes on disk, in Apache Kafka's directory layout.
