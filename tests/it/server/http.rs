//! HTTP and access.
