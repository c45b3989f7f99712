//! The commands that lead on from a unit or a machine. Pure.
//!
//! It must not know how fleet is read: whoever knows passes the flags of fleetctl. What each
//! command of fleetctl accepts is the same from version 0.5 on.

use super::shell::quoted;
use super::{CommandTemplate, CommandTemplates, Condition};
use Condition::{File, Global, Lost, NoFile, Nowhere, Present, Single};

/// How commands reach the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAccess {
    /// The flags of fleetctl that come before its command.
    pub fleetctl_flags: Vec<String>,
    /// `HOST:PORT` of the ssh server through which machines are reached; `None`: directly.
    pub jump_host: Option<String>,
    /// Whether events are entries of the journal of this machine, with fields.
    pub has_journal: bool,
}

/// The commands, the most useful first.
///
/// `fleetctl journal` and `fleetctl status` refuse global units, and units whose file is gone.
/// fleetctl has no machines that have left the cluster; but they may still be there, with their
/// fleetd dead. `core` is the user that fleetctl logs in as by default.
///
/// A command for another machine is one word: fleetctl from 0.13 on would take its flags for its
/// own.
pub fn commands(access: &ClusterAccess) -> CommandTemplates {
    let fleetctl = ["fleetctl".to_owned()]
        .into_iter()
        .chain(access.fleetctl_flags.iter().map(|flag| flag_word(flag)))
        .collect::<Vec<_>>()
        .join(" ");
    let ssh = match &access.jump_host {
        Some(jump_host) => format!("ssh -J {} core@{{ip}}", quoted(&format!("core@{jump_host}"))),
        None => "ssh core@{ip}".to_owned(),
    };
    let fleetctl = |command: &str| format!("{fleetctl} {command}");
    let on_machine = |command: &str| fleetctl(&format!("ssh {{machine}} '{command}'"));
    let on_lost = |command: &str| format!("{ssh} '{command}'");

    let journal = "journalctl --unit={unit} --lines=50 --no-pager";
    let status = "systemctl status {unit}";
    let fleet_journal = "journalctl --unit=fleet.service --lines=50 --no-pager";

    let mut unit = vec![
        template("journal", fleetctl("journal --lines=50 {unit}"), &[Single, Present, File]),
        template("journal", on_machine(journal), &[Global, Present]),
        template("journal", on_machine(journal), &[Single, Present, NoFile]),
        template("status", fleetctl("status {unit}"), &[Single, Present, File]),
        template("systemctl", on_machine(status), &[Present]),
        template("shell", fleetctl("ssh {machine}"), &[Present]),
        template("shell", ssh.clone(), &[Lost]),
        template("journal", on_lost(journal), &[Lost]),
        template("unit file", fleetctl("cat {unit}"), &[File]),
        template("machines", fleetctl("list-machines --full"), &[Nowhere]),
    ];
    let mut machine = vec![
        template("shell", fleetctl("ssh {machine}"), &[Present]),
        template("failed units", on_machine("systemctl --failed"), &[Present]),
        template("fleet", on_machine(fleet_journal), &[Present]),
        template("shell", ssh.clone(), &[Lost]),
        template("fleet", on_lost(fleet_journal), &[Lost]),
    ];
    if access.has_journal {
        unit.push(template("history", "journalctl FLEET_UNIT={unit}".to_owned(), &[]));
        machine.push(template("history", "journalctl FLEET_MACHINE={machine}".to_owned(), &[]));
    }
    CommandTemplates { unit, machine }
}

fn template(name: &str, command: String, when: &[Condition]) -> CommandTemplate {
    CommandTemplate { name: name.to_owned(), command, when: when.to_vec() }
}

/// A flag as a word for a shell. Its value is quoted alone, which is easier to read.
fn flag_word(flag: &str) -> String {
    match flag.split_once('=') {
        Some((name, value)) if is_path_or_url(value) => format!("{name}={value}"),
        Some((name, value)) => format!("{name}={}", quoted(value)),
        None => flag.to_owned(),
    }
}

/// Whether a value needs no quotes although it has characters that names do not have.
fn is_path_or_url(value: &str) -> bool {
    let is_safe = |char: char| char.is_ascii_alphanumeric() || ".-_@:/,%+".contains(char);

    !value.is_empty() && value.chars().all(is_safe)
}
