//! Nothing: the package only names the crate that ships the sources of librdkafka.
