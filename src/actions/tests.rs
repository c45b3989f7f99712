//! What becomes of commands and links. The cases are those of the page, too.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

const CASES: &str = include_str!("../../tests/fixtures/actions/cases.json");

#[derive(Deserialize)]
struct Cases {
    subjects: BTreeMap<String, CaseSubject>,
    commands: Vec<CommandCase>,
    urls: Vec<UrlCase>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CaseSubject {
    unit: Option<String>,
    machine: Option<String>,
    ip: Option<String>,
    is_global: bool,
    is_lost: bool,
    has_file: bool,
}

impl CaseSubject {
    fn subject(&self) -> ActionSubject<'_> {
        ActionSubject {
            unit: self.unit.as_deref(),
            machine: self.machine.as_deref(),
            ip: self.ip.as_deref(),
            is_global: self.is_global,
            is_lost: self.is_lost,
            has_file: self.has_file,
        }
    }
}

#[derive(Deserialize)]
struct CommandCase {
    command: String,
    #[serde(default)]
    when: Vec<Condition>,
    subject: String,
    expanded: Option<String>,
}

#[derive(Deserialize)]
struct UrlCase {
    url: String,
    subject: String,
    expanded: Option<String>,
}

#[test]
fn a_command_can_be_copied_whatever_the_names_are() {
    let Cases { subjects, commands, .. } = serde_json::from_str(CASES).unwrap();

    for CommandCase { command, when, subject, expanded } in commands {
        let template = CommandTemplate { name: String::new(), command, when };
        let found = template.expand(&subjects[&subject].subject());
        assert_eq!(found, expanded, "{template:?} of {subject}");
    }
}

#[test]
fn a_value_stays_in_its_place_in_a_url() {
    let Cases { subjects, urls, .. } = serde_json::from_str(CASES).unwrap();

    for UrlCase { url, subject, expanded } in urls {
        let link = LinkTemplate { name: String::new(), url };
        let found = link.expand(&subjects[&subject].subject());
        assert_eq!(found, expanded, "{} of {subject}", link.url);
    }
}

#[test]
fn what_a_shell_gets_is_the_value() {
    let Cases { subjects, .. } = serde_json::from_str(CASES).unwrap();
    let run = |script: &str| {
        let output = std::process::Command::new("sh")
            .args(["-c", script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };

    for (name, subject) in &subjects {
        let subject = subject.subject();
        let Some(unit) = subject.unit else { continue };
        let expand = |command| shell::expand(command, &subject);

        // A shell, and the shell of another machine, to which ssh sends one line.
        let local = expand("printf %s {unit}");
        let remote = expand("sh -c 'printf %s {unit}'");
        assert_eq!(local.is_some(), remote.is_some(), "{name}");
        for command in local.into_iter().chain(remote) {
            assert_eq!(run(&command), unit, "{command}");
        }
    }
}

/// The error for a URL, as a word.
fn problem_of(url: &str) -> &'static str {
    match LinkTemplate::new("Logs", url) {
        Ok(_) => "none",
        Err(LinkError::Name) => "name",
        Err(LinkError::Scheme) => "scheme",
        Err(LinkError::Length) => "length",
        Err(LinkError::Template(TemplateError::Unbalanced)) => "unbalanced",
        Err(LinkError::Template(TemplateError::Unknown(_))) => "unknown",
        Err(LinkError::Character(..)) => "character",
        Err(LinkError::Credentials) => "credentials",
        Err(LinkError::Host) => "host",
        Err(LinkError::PlaceholderInHost) => "placeholder in host",
        Err(LinkError::Dots) => "dots",
    }
}

#[test]
fn a_valid_url_is_absolute_and_leads_to_a_fixed_place() {
    for url in [
        "https://kibana.example/{unit}?host={ip}",
        "http://10.0.0.1:5601/app/discover#/?_a=(query:'{unit}')&_g=(time:(from:now-1h))",
        "http://[fd00::1]:3000/d/units?var-unit={unit}",
        "https://a",
        "http://{ip}:9100/metrics",
        "http://{ip}",
        "https://{machine}.hosts.example:8443/{prefix}/{instance}",
        "http://a/%7B%22unit%22%3A%22{unit}%22%7D",
    ] {
        assert_eq!(problem_of(url), "none", "{url}");
    }

    let long = format!("http://a/{}", "x".repeat(2000));
    for (url, problem) in [
        ("", "scheme"),
        ("/logs/{unit}", "scheme"),
        ("logs.example/{unit}", "scheme"),
        ("//logs.example/{unit}", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("ftp://a/{unit}", "scheme"),
        (&long, "length"),
        ("http://a/{unit", "unbalanced"),
        ("http://a/unit}", "unbalanced"),
        ("http://a/{{unit}}", "unbalanced"),
        ("http://a/}{", "unbalanced"),
        ("http://a/{name}", "unknown"),
        ("http://a/{}", "unknown"),
        ("http://a/{ unit }", "unknown"),
        ("http://a/{Unit}", "unknown"),
        ("http://a/a b", "character"),
        ("http://a/größe", "character"),
        ("http://a/\"", "character"),
        ("http://a\\@b/", "character"),
        ("http://user:secret@a/{unit}", "credentials"),
        ("http://{unit}@a/", "credentials"),
        ("http://", "host"),
        ("http:///{unit}", "host"),
        ("http://:80/", "host"),
        ("http://a:/", "host"),
        ("http://a:0/", "host"),
        ("http://a:http/", "host"),
        ("http://a:{machine}/", "host"),
        ("http://fd00::1/", "host"),
        ("http://[fd00::1/", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://-a/", "host"),
        ("http://{unit}/", "placeholder in host"),
        ("http://{prefix}.example/", "placeholder in host"),
        ("http://a{instance}/", "placeholder in host"),
        ("http://{ip}.example/", "placeholder in host"),
        ("http://a.{ip}/", "placeholder in host"),
        ("http://[{ip}]/", "placeholder in host"),
        ("http://a/../{unit}", "dots"),
        ("http://a/%2E%2e/{unit}", "dots"),
        ("http://a/.", "dots"),
    ] {
        assert_eq!(problem_of(url), problem, "{url}");
    }
}

#[test]
fn a_link_needs_a_name_that_can_be_read() {
    let long = "x".repeat(61);
    for name in ["", " ", " Logs", "a\nb", "\u{1b}[31m", &long] {
        let link = LinkTemplate::new(name, "http://a/");
        assert_eq!(link, Err(LinkError::Name), "{name:?}");
    }
    for name in ["Logs", "Größe 🚢", "a=b"] {
        assert!(LinkTemplate::new(name, "http://a/").is_ok(), "{name}");
    }
}

/// The commands for a subject of the cases.
fn commands_for(access: &ClusterAccess, subject: &str) -> Vec<String> {
    let Cases { subjects, .. } = serde_json::from_str(CASES).unwrap();
    let actions = Actions { commands: commands(access), ..Actions::default() };

    actions.commands_for(&subjects[subject].subject())
}

#[test]
fn each_subject_has_commands_that_work_for_it() {
    let access = ClusterAccess { has_journal: true, ..ClusterAccess::default() };
    let of = |subject| commands_for(&access, subject);

    assert_eq!(
        of("single"),
        [
            "fleetctl journal --lines=50 db.service",
            "fleetctl status db.service",
            "fleetctl ssh 3f1a8c5e9b2d4f60a7c1d2e3b4f50617 'systemctl status db.service'",
            "fleetctl ssh 3f1a8c5e9b2d4f60a7c1d2e3b4f50617",
            "fleetctl cat db.service",
            "journalctl FLEET_UNIT=db.service",
        ]
    );
    // fleetctl refuses global units, and has no unit without a file.
    assert_eq!(
        of("global"),
        [
            "fleetctl ssh 9c4b7a2e 'journalctl --unit=agent.service --lines=50 --no-pager'",
            "fleetctl ssh 9c4b7a2e 'systemctl status agent.service'",
            "fleetctl ssh 9c4b7a2e",
            "fleetctl cat agent.service",
            "journalctl FLEET_UNIT=agent.service",
        ]
    );
    assert_eq!(
        of("ghost"),
        [
            "fleetctl ssh 9c4b7a2e 'journalctl --unit=old.service --lines=50 --no-pager'",
            "fleetctl ssh 9c4b7a2e 'systemctl status old.service'",
            "fleetctl ssh 9c4b7a2e",
            "journalctl FLEET_UNIT=old.service",
        ]
    );
    // fleetctl has no machine that has left the cluster.
    assert_eq!(
        of("lost"),
        [
            "ssh core@10.0.0.3",
            "ssh core@10.0.0.3 'journalctl --unit=db.service --lines=50 --no-pager'",
            "fleetctl cat db.service",
            "journalctl FLEET_UNIT=db.service",
        ]
    );
    assert_eq!(
        of("nowhere"),
        [
            "fleetctl cat batch.timer",
            "fleetctl list-machines --full",
            "journalctl FLEET_UNIT=batch.timer",
        ]
    );
    assert_eq!(
        of("machine"),
        [
            "fleetctl ssh 9c4b7a2e",
            "fleetctl ssh 9c4b7a2e 'systemctl --failed'",
            "fleetctl ssh 9c4b7a2e 'journalctl --unit=fleet.service --lines=50 --no-pager'",
            "journalctl FLEET_MACHINE=9c4b7a2e",
        ]
    );
    assert_eq!(
        of("lost machine"),
        [
            "ssh core@10.0.0.3",
            "ssh core@10.0.0.3 'journalctl --unit=fleet.service --lines=50 --no-pager'",
            "journalctl FLEET_MACHINE=d2e8f4a1",
        ]
    );
}

#[test]
fn commands_reach_the_cluster_as_the_monitor_does() {
    let access = ClusterAccess {
        fleetctl_flags: vec![
            "--tunnel=bastion:22".to_owned(),
            "--ca-file=/etc/my certificates/ca.pem".to_owned(),
        ],
        jump_host: Some("bastion:22".to_owned()),
        has_journal: false,
    };

    let fleetctl = "fleetctl --tunnel=bastion:22 --ca-file='/etc/my certificates/ca.pem'";
    assert_eq!(commands_for(&access, "machine")[0], format!("{fleetctl} ssh 9c4b7a2e"));
    assert_eq!(
        commands_for(&access, "lost machine"),
        [
            "ssh -J core@bastion:22 core@10.0.0.3",
            "ssh -J core@bastion:22 core@10.0.0.3 \
             'journalctl --unit=fleet.service --lines=50 --no-pager'",
        ]
    );
}

#[test]
fn actions_of_another_version_are_read_as_far_as_they_are_known() {
    let actions: Actions = serde_json::from_str(
        r#"{"commands": {"unit": [{"name": "a", "command": "b", "when": ["later"], "x": 1}]},
            "unit_files": "masked", "later": {}}"#,
    )
    .unwrap();

    assert_eq!(actions.commands.unit[0].when, [Condition::Unknown]);
    assert_eq!(actions.unit_files.as_deref(), Some("masked"));
    assert_eq!((actions.links.len(), actions.logs), (0, false));
    assert_eq!(serde_json::from_str::<Actions>("{}").unwrap(), Actions::default());
}
