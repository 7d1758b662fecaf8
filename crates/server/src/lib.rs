//! The node with threads, sockets and files.
