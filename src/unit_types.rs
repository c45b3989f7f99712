//! The types of units, by which their names end. Pure.

/// The types of systemd's units (`systemd.unit(5)`), and `snapshot` of systemd before v228.
pub(crate) const UNIT_TYPES: [&str; 12] = [
    "automount",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "snapshot",
    "socket",
    "swap",
    "target",
    "timer",
];
