//! The columns that the first protocol can publish of a unit and of a machine.
//!
//! It has only their names, most of which are those of fleetctl's `--fields`. It does not know how
//! a column is computed.

use std::fmt;
use std::str::FromStr;

/// A name that is not the name of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a field; expected {valid}")]
pub struct UnknownField {
    name: String,
    /// All columns, separated by commas.
    valid: String,
}

macro_rules! fields {
    ($(#[$doc:meta])* $type:ident { $($(#[$field_doc:meta])* $field:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$field_doc])* $field,)+
        }

        impl $type {
            /// All columns, in the order of the documentation.
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
                    _ => Err(UnknownField {
                        name: name.into(),
                        valid: [$($name,)+].join(", "),
                    }),
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
        /// systemd's load state, such as `loaded` or `not-found`.
        Load = "load",
        /// systemd's active state, such as `active` or `failed`.
        Active = "active",
        /// systemd's sub state, such as `running` or `dead`.
        Sub = "sub",
        /// The machine that reports the unit, as `ID/IP`.
        Machine = "machine",
        /// SHA-1 of the unit file that the machine has.
        Hash = "hash",
        /// The state that fleet wants: `inactive`, `loaded` or `launched`.
        DesiredState = "dstate",
        /// The machine that fleet has chosen, as `ID/IP`.
        Target = "target",
        /// `true` if the unit runs on every machine that meets its requirements.
        Global = "global",
        /// `Description=` of the unit.
        Description = "desc",
        /// What is wrong with the unit, or `ok`.
        Verdict = "verdict",
        /// The unit's name, and the machine if several rows have this name; unique in the list.
        Key = "key",
    }
}

fields! {
    /// A column of the list of machines.
    MachineField {
        /// The machine's ID: 32 hexadecimal digits.
        Machine = "machine",
        /// The machine's address, as fleet publishes it.
        Ip = "ip",
        /// The machine's metadata, as `key=value` pairs separated by commas.
        Metadata = "metadata",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_parsed() {
        for &field in UnitField::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
        for &field in MachineField::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
    }

    #[test]
    fn the_error_for_another_name_lists_the_valid_names() {
        let error = "uptime".parse::<MachineField>().unwrap_err().to_string();
        assert!(error.contains("\"uptime\""), "{error}");
        assert!(MachineField::ALL.iter().all(|field| error.contains(field.name())), "{error}");

        assert!("Unit".parse::<UnitField>().is_err(), "names are in lower case");
    }
}
