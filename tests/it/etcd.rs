//! etcd: the source that watches it, and what its tests stand on.

mod bed;
mod daemon;
mod misbehaving;
mod standstill;
mod tls;
mod trouble;
mod watched;
