//! A Kafka client: machines, and under feature net a tokio shell.
