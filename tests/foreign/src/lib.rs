//! Nothing: the package only names the crates that ship the tests.
