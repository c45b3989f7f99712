//! The image, in a root directory that has nothing else, as an operator uses it: with `--etcd`
//! alone, and a host name.

use std::fs;
use std::process::Command;

use super::{Images, output, repository};
use crate::support::containers::Containers;
use crate::support::packages;

/// Knows only `etcd`, as the name server of a container engine knows the other containers.
const NAME_SERVER: &str = include_str!("name_server.py");

#[tokio::test]
async fn the_container_watches_an_etcd_whose_name_only_dns_has() {
    let Some(packages) = packages() else { return };
    let Some(network) = Containers::new() else {
        return;
    };
    let images = Images::new();
    let (container, config) = images.container(&packages);
    let mounted = output(images.buildah().args(["mount", &container]));

    // What a container engine adds to it.
    let root = network.root("fleet-monitor");
    output(
        Command::new("cp")
            .arg("--archive")
            .arg(format!("{}/.", mounted.trim()))
            .arg(&root),
    );
    for name in ["fleet-monitor", "etcd", "cluster"] {
        network.write(name, "/etc/hosts", "127.0.0.1 localhost\n");
    }
    network.write("fleet-monitor", "/etc/resolv.conf", "nameserver 127.0.0.11\n");
    network.start_outside("names", "python3", &["-c", NAME_SERVER]);

    let etcd = ["--listen-client-urls", "--advertise-client-urls"];
    let url = "http://127.0.0.1:2379";
    network.add_programs("etcd");
    let command = ["etcd", "--enable-v2", "--data-dir", "/tmp/data", etcd[0], url, etcd[1], url];
    network.start("etcd", "0:0", &command, &[]);
    network.add_programs("cluster");
    for file in ["cluster.sh", "cluster.txt"] {
        let content = fs::read(repository("packaging/compose").join(file)).unwrap();
        network.write("cluster", file, content);
    }
    network.start("cluster", "0:0", &["sh", "/cluster.sh", "/cluster.txt", url], &[]);

    let entrypoint = config["Entrypoint"][0].as_str().unwrap();
    let variables: Vec<(&str, &str)> = config["Env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|variable| variable.as_str()?.split_once('='))
        .collect();
    let command = [entrypoint, "--etcd", "http://etcd:2379"];
    network.start("fleet-monitor", config["User"].as_str().unwrap(), &command, &variables);

    let health = network
        .until("the units", |network| {
            let state = network.get("http://127.0.0.1:8989/v2/state")?;
            let units = state["units"].as_array()?;
            let is_there = units.iter().any(|unit| unit["unit"] == "web.service");
            is_there.then(|| state["health"].clone())
        })
        .await;
    assert!(health["source"].as_str().unwrap().starts_with("etcd "), "{health}");

    // It can write what goes on after a restart.
    let state = root.join("var/lib/fleet-monitor/state");
    network.until("the state", |_| state.is_file().then_some(())).await;
}
