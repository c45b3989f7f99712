//! The columns of the first protocol, named as fleetctl names them.

/// A column of the unit list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitField {
    /// The unit's name.
    Unit,
    /// systemd's load state.
    Load,
    /// systemd's active state.
    Active,
    /// systemd's sub state.
    Sub,
    /// `ID/IP` of the machine.
    Machine,
    /// SHA-1 of the unit file that the machine has.
    Hash,
    /// The desired state.
    Dstate,
    /// `ID/IP` of the machine that fleet has chosen, or `global`.
    Target,
    /// `true` for a global unit.
    Global,
    /// The description.
    Desc,
    /// The judgement; fleetctl has no such column.
    Verdict,
}

/// A column of the machine list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineField {
    /// The machine's ID.
    Machine,
    /// Its address.
    Ip,
    /// Its metadata.
    Metadata,
}

impl UnitField {
    /// All columns.
    pub const ALL: [UnitField; 11] = [
        UnitField::Unit,
        UnitField::Load,
        UnitField::Active,
        UnitField::Sub,
        UnitField::Machine,
        UnitField::Hash,
        UnitField::Dstate,
        UnitField::Target,
        UnitField::Global,
        UnitField::Desc,
        UnitField::Verdict,
    ];

    /// The name in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            UnitField::Unit => "unit",
            UnitField::Load => "load",
            UnitField::Active => "active",
            UnitField::Sub => "sub",
            UnitField::Machine => "machine",
            UnitField::Hash => "hash",
            UnitField::Dstate => "dstate",
            UnitField::Target => "target",
            UnitField::Global => "global",
            UnitField::Desc => "desc",
            UnitField::Verdict => "verdict",
        }
    }
}

impl MachineField {
    /// All columns.
    pub const ALL: [MachineField; 3] = [MachineField::Machine, MachineField::Ip, MachineField::Metadata];

    /// The name in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            MachineField::Machine => "machine",
            MachineField::Ip => "ip",
            MachineField::Metadata => "metadata",
        }
    }
}
