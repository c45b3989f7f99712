//! The JSON entries of each list, and how they are converted to rows. It knows nothing of pages.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ApiRow;
use crate::cluster::{Machine, MachineId, UnitFile, UnitName, UnitState};
use crate::source::rows::{metadata, printable, printable_if_any};
use crate::source::unit_file::{UnitOption, description, hash, is_global, requirements};

/// An entry of `/state`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct StateJson {
    name: String,
    hash: Option<String>,
    #[serde(rename = "machineID")]
    machine_id: Option<String>,
    systemd_load_state: Option<String>,
    systemd_active_state: Option<String>,
    systemd_sub_state: Option<String>,
}

/// An entry of `/machines`.
#[derive(Deserialize)]
pub(in crate::source) struct MachineJson {
    id: String,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(rename = "primaryIP")]
    primary_ip: Option<String>,
}

/// An entry of `/units`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct UnitJson {
    name: String,
    desired_state: Option<String>,
    #[serde(rename = "machineID")]
    machine_id: Option<String>,
    options: Option<Vec<UnitOption>>,
}

impl ApiRow for UnitState {
    const PATH: &'static str = "state";
    const MEMBER: &'static str = "states";
    type Json = StateJson;
    type Id = (UnitName, Option<MachineId>);
    const MAY_LACK_ROWS: bool = true;

    fn id(&self) -> Self::Id {
        (self.unit.clone(), self.machine.clone())
    }
}

impl ApiRow for Machine {
    const PATH: &'static str = "machines";
    const MEMBER: &'static str = "machines";
    type Json = MachineJson;
    type Id = MachineId;
    const MAY_LACK_ROWS: bool = false;

    fn id(&self) -> Self::Id {
        self.id.clone()
    }
}

impl ApiRow for UnitFile {
    const PATH: &'static str = "units";
    const MEMBER: &'static str = "units";
    type Json = UnitJson;
    type Id = UnitName;
    const MAY_LACK_ROWS: bool = false;

    fn id(&self) -> Self::Id {
        self.unit.clone()
    }
}

impl From<StateJson> for UnitState {
    fn from(state: StateJson) -> Self {
        Self {
            unit: printable(&state.name),
            machine: printable_if_any(state.machine_id.as_deref()),
            ip: None,
            load: printable_if_any(state.systemd_load_state.as_deref()),
            active: printable_if_any(state.systemd_active_state.as_deref()),
            sub: printable_if_any(state.systemd_sub_state.as_deref()),
            hash: printable_if_any(state.hash.as_deref()),
        }
    }
}

impl From<MachineJson> for Machine {
    fn from(machine: MachineJson) -> Self {
        Self {
            id: printable(&machine.id),
            ip: printable_if_any(machine.primary_ip.as_deref()),
            metadata: metadata(&machine.metadata.unwrap_or_default()),
            version: None,
        }
    }
}

impl From<UnitJson> for UnitFile {
    fn from(unit: UnitJson) -> Self {
        let options = unit.options.unwrap_or_default();
        let target: Option<MachineId> = printable_if_any(unit.machine_id.as_deref());
        // Before 0.13 fleetd accepted only the value `true`, and scheduled a unit with `Global=yes`
        // to one machine, as any other unit. A unit that has a target is therefore not global.
        let global = target.is_none() && is_global(&options);

        Self {
            unit: printable(&unit.name),
            hash: Some(hash(&options).into()),
            desired: printable_if_any(unit.desired_state.as_deref()),
            target,
            target_known: true,
            global,
            description: description(&options),
            requirements: requirements(&options),
            requirements_known: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_in_a_unit_file_makes_it_panic(section: String, name: String, value: String) {
            let option = UnitOption { section, name, value };
            let _ = UnitFile::from(UnitJson {
                name: String::new(),
                desired_state: None,
                machine_id: None,
                options: Some(vec![option]),
            });
        }
    }
}
