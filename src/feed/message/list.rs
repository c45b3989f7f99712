//! The lists of the first protocol as JSON.
//!
//! It does not know when a list is sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::key_column::keys;
use super::to_json;
use crate::cluster::{MachineId, Member, Text, Unit, View};
use crate::feed::fields::{MachineField, UnitField};
use crate::feed::filter::Filter;

/// Stands for an empty column, as in the output of fleetctl.
const EMPTY: &str = "-";

/// A list, whose rows are computed while it is serialized.
#[derive(Serialize)]
struct ListJson<I> {
    r#type: &'static str,
    fields: Vec<&'static str>,
    items: I,
}

/// An array whose elements are computed while it is serialized, so that they are never all in
/// memory.
struct StreamedArray<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for StreamedArray<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// The unit list. It has only the rows that fleet's own list has, or should have, and of these the
/// ones that pass the filter.
pub(in crate::feed) fn unit_list(view: &View, fields: &[UnitField], filter: &Filter) -> Vec<u8> {
    let ips: HashMap<&MachineId, &Text> = view
        .machines
        .iter()
        .filter_map(|member| Some((&member.machine.id, member.machine.ip.as_ref()?)))
        .collect();

    let listed: Vec<&Unit> = listed(view).collect();
    let keys = match fields.contains(&UnitField::Key) {
        true => keys(&listed),
        false => Vec::new(),
    };
    let passing: Vec<usize> = (0..listed.len()).filter(|row| filter.unit(listed[*row])).collect();

    let cell = |row: usize, field: UnitField| match field {
        UnitField::Key => Cow::Borrowed(&*keys[row]),
        _ => unit_cell(listed[row], field, &ips),
    };
    let cells_of = |row: &usize| {
        let row = *row;
        StreamedArray(fields.iter().map(move |field| cell(row, *field)))
    };
    let rows = passing.iter().map(cells_of);

    to_json(&ListJson {
        r#type: "unit",
        fields: fields.iter().map(|field| field.name()).collect(),
        items: StreamedArray(rows),
    })
}

/// Whether several rows of the unit list have the same text in its first column, and that is the
/// unit's name.
pub(in crate::feed) fn repeats_a_name(view: &View, fields: &[UnitField]) -> bool {
    let names = || listed(view).map(|unit| &unit.state.unit);
    let mut pairs = names().zip(names().skip(1));

    fields.first() == Some(&UnitField::Unit) && pairs.any(|(one, next)| one == next)
}

/// The rows of the unit list, sorted by name.
fn listed(view: &View) -> impl Iterator<Item = &Unit> {
    view.units.iter().map(|unit| &**unit).filter(|unit| unit.listed)
}

/// The machine list. It has only machines that are in the cluster, and of these the ones that pass
/// the filter.
pub(in crate::feed) fn machine_list(
    view: &View,
    fields: &[MachineField],
    filter: &Filter,
) -> Vec<u8> {
    let passing: Vec<&Arc<Member>> = view
        .machines
        .iter()
        .filter(|member| member.lost_since.is_none() && filter.machine(member))
        .collect();
    let rows = passing
        .iter()
        .map(|member| StreamedArray(fields.iter().map(|field| machine_cell(member, *field))));

    to_json(&ListJson {
        r#type: "machine",
        fields: fields.iter().map(|field| field.name()).collect(),
        items: StreamedArray(rows),
    })
}

/// What the unit list has of this row, to compare it with another version of the row; `None` if the
/// list does not have it. The address of its target is missing. Instead of the key there is what
/// keys depend on.
pub(in crate::feed) fn unit_cells<'a>(
    unit: &'a Unit,
    fields: &[UnitField],
) -> Option<Vec<Cow<'a, str>>> {
    let no_ips = HashMap::new();
    let cell = |field: &UnitField| match field {
        UnitField::Key => unit_cell(unit, UnitField::Machine, &no_ips),
        _ => unit_cell(unit, *field, &no_ips),
    };
    let cells = || fields.iter().map(cell).collect();

    unit.listed.then(cells)
}

/// The row of a machine in the machine list; `None` if the list does not have this machine.
pub(in crate::feed) fn machine_cells<'a>(
    member: &'a Member,
    fields: &[MachineField],
) -> Option<Vec<Cow<'a, str>>> {
    let cells = || fields.iter().map(|field| machine_cell(member, *field)).collect();

    member.lost_since.is_none().then(cells)
}

/// One column of a unit. `ips` has the addresses of targets. The key is that of a row that alone
/// has its name.
fn unit_cell<'a>(
    unit: &'a Unit,
    field: UnitField,
    ips: &HashMap<&MachineId, &Text>,
) -> Cow<'a, str> {
    let file = unit.file.as_deref();

    match field {
        UnitField::Unit | UnitField::Key => Cow::Borrowed(&unit.state.unit),
        UnitField::Load => text_or_dash(unit.state.load.as_ref()),
        UnitField::Active => text_or_dash(unit.state.active.as_ref()),
        UnitField::Sub => text_or_dash(unit.state.sub.as_ref()),
        UnitField::Machine => machine_with_ip(unit.state.machine.as_ref(), unit.state.ip.as_ref()),
        UnitField::Hash => text_or_dash(unit.state.hash.as_ref()),
        UnitField::DesiredState => text_or_dash(file.and_then(|file| file.desired.as_ref())),
        UnitField::Target if file.is_some_and(|file| file.global) => "global".into(),
        UnitField::Target => {
            let target = file.and_then(|file| file.target.as_ref());
            machine_with_ip(target, target.and_then(|target| ips.get(target).copied()))
        }
        UnitField::Global => file
            .map_or(EMPTY, |file| if file.global { "true" } else { "false" })
            .into(),
        UnitField::Description => text_or_dash(file.and_then(|file| file.description.as_ref())),
        UnitField::Verdict => unit.verdict.name().into(),
    }
}

fn machine_cell(member: &Member, field: MachineField) -> Cow<'_, str> {
    match field {
        MachineField::Machine => Cow::Borrowed(&member.machine.id),
        MachineField::Ip => text_or_dash(member.machine.ip.as_ref()),
        MachineField::Metadata => text_or_dash(member.machine.metadata.as_ref()),
    }
}

/// `ID/IP`, as fleetctl prints a machine; the ID alone if its address is not known.
fn machine_with_ip<'a>(machine: Option<&'a MachineId>, ip: Option<&Text>) -> Cow<'a, str> {
    match (machine, ip) {
        (Some(machine), Some(ip)) => Cow::Owned([machine, "/", ip].concat()),
        (Some(machine), None) => Cow::Borrowed(machine),
        (None, _) => Cow::Borrowed(EMPTY),
    }
}

fn text_or_dash(text: Option<&Text>) -> Cow<'_, str> {
    Cow::Borrowed(text.map_or(EMPTY, |text| text))
}
