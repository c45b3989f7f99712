//! etcd: what the tests of the source that watches it stand on.

mod bed;
