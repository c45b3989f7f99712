//! etcd: the source that watches it, and what its tests stand on.

mod certificates;
mod daemon;
mod misbehaving;
mod proxies;
mod redirects;
mod streams;
mod suspend;
mod testbed;
mod tls;
mod trouble;
mod users;
mod watched;
