//! All tests against real sockets, processes, browsers and service managers, in one binary.

mod timeline;
