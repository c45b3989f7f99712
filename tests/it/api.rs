//! fleet's HTTP API as a source, against real sockets.

mod connections;
mod failures;
mod pages;
mod rows;

use fleet_monitor::cluster::{FleetList, Machine, Reading, UnitFile, UnitState};
use fleet_monitor::source::api::{Api, ApiError};
use fleet_monitor::source::{FleetClient, SourceError};
use serde_json::{Value, json};

use crate::support::fleetd::Registry;

fn api(address: &str) -> Api {
    Api::new(address.parse().expect("an address"))
}

async fn failure(api: &Api) -> ApiError {
    match api.poll(FleetList::Machines).await {
        Err(SourceError::Api(error)) => error,
        other => panic!("expected an error of the API, got {other:?}"),
    }
}

async fn states(api: &Api) -> Vec<UnitState> {
    match api.poll(FleetList::Units).await {
        Ok(Reading::Units { states, files: None }) => states,
        other => panic!("expected unit states, got {other:?}"),
    }
}

async fn machines(api: &Api) -> Vec<Machine> {
    match api.poll(FleetList::Machines).await {
        Ok(Reading::Machines { machines }) => machines,
        other => panic!("expected machines, got {other:?}"),
    }
}

async fn files(api: &Api) -> Vec<UnitFile> {
    match api.poll(FleetList::UnitFiles).await {
        Ok(Reading::UnitFiles { files }) => files,
        other => panic!("expected unit files, got {other:?}"),
    }
}

fn state(unit: usize) -> Value {
    json!({"name": format!("unit-{unit:04}.service"), "machineID": "1"})
}

fn registry(units: usize) -> Registry {
    Registry {
        states: (0..units).map(state).collect(),
        ..Registry::default()
    }
}
