//! The columns that the first protocol can publish of a unit and of a machine.
//!
//! Names only: what a column holds is decided where messages are made. Most names are those of
//! fleetctl's `--fields`.

use std::fmt;
use std::str::FromStr;

/// A name that is no column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a field; expected {valid}")]
pub struct UnknownField {
    /// What was asked for.
    pub name: String,
    /// What could have been asked for, between commas.
    pub valid: String,
}

macro_rules! fields {
    ($(#[$doc:meta])* $type:ident { $($(#[$field_doc:meta])* $field:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$field_doc])* $field,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[$type] = &[$($type::$field,)+];

            /// The name in options and messages.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$field => $name,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownField;

            fn from_str(name: &str) -> Result<Self, UnknownField> {
                match name {
                    $($name => Ok($type::$field),)+
                    _ => Err(UnknownField { name: name.into(), valid: [$($name,)+].join(", ") }),
                }
            }
        }
    };
}

fields! {
    /// A column of the list of units.
    UnitField {
        /// The unit's full name.
        Unit = "unit",
        /// systemd's load state.
        Load = "load",
        /// systemd's active state.
        Active = "active",
        /// systemd's sub state.
        Sub = "sub",
        /// The machine that reports the unit, as `ID/IP`.
        Machine = "machine",
        /// SHA-1 of the unit file that the machine has.
        Hash = "hash",
        /// The state that fleet wants: `inactive`, `loaded` or `launched`.
        DesiredState = "dstate",
        /// The machine that fleet has chosen, as `ID/IP`.
        Target = "target",
        /// Whether the unit runs on every machine that meets its requirements.
        Global = "global",
        /// `Description=` of the unit.
        Description = "desc",
        /// The judgement over the unit.
        Verdict = "verdict",
    }
}

fields! {
    /// A column of the list of machines.
    MachineField {
        /// The machine's ID.
        Machine = "machine",
        /// Its address.
        Ip = "ip",
        /// Its metadata, as `key=value` pairs between commas.
        Metadata = "metadata",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for &field in UnitField::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
        for &field in MachineField::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
    }

    #[test]
    fn another_name_is_answered_with_the_valid_ones() {
        let error = "uptime".parse::<MachineField>().unwrap_err();
        assert!(error.to_string().contains("\"uptime\""), "{error}");
        assert!(
            MachineField::ALL
                .iter()
                .all(|field| error.to_string().contains(field.name())),
            "{error}"
        );
        assert!("Unit".parse::<UnitField>().is_err(), "names are in lower case");
    }
}
