//! The rows of the API are those of fleetctl.

use std::collections::BTreeMap;

use fleet_monitor::cluster::{FleetList, Reading};
use fleet_monitor::source::FleetClient;
use fleet_monitor::source::fleetctl::FleetctlConnection;
use serde_json::json;

use super::{api, files, machines, states};
use crate::support::Double;
use crate::support::fleetd::{ApiRecording, Fleetd};

fn cell(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn place(machine: Option<&str>, ip: Option<&str>) -> String {
    match (machine, ip) {
        (Some(machine), Some(ip)) => format!("{machine}/{ip}"),
        (machine, _) => cell(machine),
    }
}

#[tokio::test]
async fn rows_are_those_of_fleetctl() {
    for version in ["v0.8.3", "v0.9.2", "v0.11.8", "v1.0.0"] {
        let recording = ApiRecording::load(&format!("fleetd-{version}"));
        let fleetd = Fleetd::unix(ApiRecording::load(&format!("fleetd-{version}")).respond());
        let api = api(fleetd.address());

        let states: Vec<Vec<String>> = states(&api)
            .await
            .iter()
            .map(|row| {
                vec![
                    row.unit.to_string(),
                    cell(row.load.as_deref()),
                    cell(row.active.as_deref()),
                    cell(row.sub.as_deref()),
                    place(row.machine.as_deref(), row.ip.as_deref()),
                    cell(row.hash.as_deref()),
                ]
            })
            .collect();
        assert_eq!(states, recording.fleetctl("list-units"), "{version}");

        let machines = machines(&api).await;
        let listed: Vec<Vec<String>> = machines
            .iter()
            .map(|row| {
                vec![row.id.to_string(), cell(row.ip.as_deref()), cell(row.metadata.as_deref())]
            })
            .collect();
        assert_eq!(listed, recording.fleetctl("list-machines"), "{version}");

        let address = |id: &str| machines.iter().find(|machine| &*machine.id == id)?.ip.as_deref();
        // fleetctl prints `-` as the target of a global unit before 0.10, and what fleet does with
        // a unit in the column STATE, which is not read.
        let global_target = if ["v0.8.3", "v0.9.2"].contains(&version) {
            "-"
        } else {
            "global"
        };
        let files: Vec<Vec<String>> = files(&api)
            .await
            .iter()
            .map(|row| {
                let target = match row.global {
                    true => global_target.to_owned(),
                    false => place(row.target.as_deref(), row.target.as_deref().and_then(address)),
                };
                assert!(row.target_known && !(row.global && row.target.is_some()), "{row:?}");
                vec![
                    row.unit.to_string(),
                    row.global.to_string(),
                    cell(row.desired.as_deref()),
                    target,
                    cell(row.hash.as_deref()),
                    cell(row.description.as_deref()),
                ]
            })
            .collect();
        let mut expected = recording.fleetctl("list-unit-files");
        for row in &mut expected {
            assert_eq!(row.len(), 7, "unit, global, state, dstate, target, hash, desc");
            row.remove(2);
        }
        assert_eq!(files, expected, "{version}");
        let known = version.strip_prefix('v').filter(|version| *version != "0.8.3");
        assert_eq!(api.version().as_deref(), known, "fleetd before 0.9 does not send it");
    }
}

/// One recorded cluster of each version, read through its fleetd and through its fleetctl.
#[tokio::test]
async fn both_sources_read_the_same_from_one_cluster() {
    for version in ["v0.8.3", "v0.9.2", "v0.11.8", "v1.0.0"] {
        let recording = ApiRecording::load(&format!("fleetd-{version}"));
        let fleetctl = Double::new(version);
        let lists = ["list-units", "list-machines", "list-unit-files"]
            .map(|list| (list, recording.fleetctl(list)));
        fleetctl.write("rows.json", &json!(BTreeMap::from(lists)).to_string());
        let source = fleetctl.source(FleetctlConnection::Default);
        let fleetd = Fleetd::unix(recording.respond());
        let api = api(fleetd.address());
        for topic in FleetList::ALL {
            let mut read = api.poll(topic).await.unwrap();
            if let Reading::UnitFiles { files } = &mut read {
                // Only the API has the requirements of a unit.
                files.iter_mut().for_each(|file| {
                    file.requirements.clear();
                    file.requirements_known = false;
                });
            }
            assert_eq!(read, source.poll(topic).await.unwrap(), "{version}");
        }
    }
}

#[tokio::test]
async fn an_empty_cluster_is_no_failure() {
    let fleetd = Fleetd::tcp(ApiRecording::load("no-units").respond()).await;
    let api = api(fleetd.address());
    assert_eq!(states(&api).await, []);
    assert_eq!(files(&api).await, []);
    assert_eq!(machines(&api).await.len(), 4);
}
