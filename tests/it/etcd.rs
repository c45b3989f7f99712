//! etcd: the source that watches it, and what its tests stand on.

mod bed;
mod misbehaving;
mod trouble;
mod watched;
