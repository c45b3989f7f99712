//! etcd: the source that watches it, and what its tests stand on.

mod bed;
mod certificates;
mod daemon;
mod misbehaving;
mod proxies;
mod redirects;
mod standstill;
mod tls;
mod trouble;
mod users;
mod watched;
