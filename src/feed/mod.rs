//! What clients are sent: the public messages and their making.

pub mod fields;
