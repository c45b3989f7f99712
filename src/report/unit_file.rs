//! A unit file, and what differs on machines that run another version of it.

use anstyle::{AnsiColor, Style};

use super::cluster_state::ClusterState;
use super::table::Layout;
use super::wire::{UnitFileReply, VersionReply};

/// The colours of lines that were removed and added. Their signs say the same.
const REMOVED: Style = AnsiColor::Red.on_default();
const ADDED: Style = AnsiColor::Green.on_default();

/// The file as it is, so that it can be piped into another one, with a newline at its end. The
/// other versions follow, if machines run any.
pub fn unit_file(state: &ClusterState, file: &UnitFileReply, layout: Layout) -> String {
    let mut text = match &file.content {
        Some(content) => content.lines().map(|line| printable_line(line) + "\n").collect(),
        None => format!("fleet does not have the unit file of {} any more.\n", file.unit),
    };

    for version in &file.running {
        text.push('\n');
        text += &other_version(state, version, file.hash.as_deref(), layout);
    }
    text
}

fn other_version(
    state: &ClusterState,
    version: &VersionReply,
    of_fleet: Option<&str>,
    layout: Layout,
) -> String {
    let machines: Vec<&str> = version.machines.iter().map(|id| state.machine_name(id)).collect();
    let verb = if machines.len() == 1 { "runs" } else { "run" };
    let runs = format!("{} {verb} version {}", machines.join(", "), short(&version.hash));

    match (version, of_fleet) {
        (VersionReply { diff: Some(diff), .. }, Some(of_fleet)) => {
            let lines: String = diff.iter().map(|line| diff_line(line, layout) + "\n").collect();
            format!("{runs} (-), fleet has version {} (+):\n\n{lines}", short(of_fleet))
        }
        (VersionReply { content: Some(content), .. }, _) => {
            let lines: String = content.lines().map(|line| printable_line(line) + "\n").collect();
            format!("{runs}:\n\n{lines}")
        }
        _ => format!("{runs}, which is not kept anywhere.\n"),
    }
}

fn diff_line(line: &str, layout: Layout) -> String {
    let style = match line.as_bytes().first() {
        Some(b'-') => REMOVED,
        Some(b'+') => ADDED,
        _ => return printable_line(line),
    };
    if layout.color {
        format!("{style}{}{style:#}", printable_line(line))
    } else {
        printable_line(line)
    }
}

/// A line without control characters but tabs, which a terminal would obey.
fn printable_line(line: &str) -> String {
    line.replace(|char: char| char.is_control() && char != '\t', "\u{fffd}")
}

/// A hash as fleetctl shortens it.
fn short(hash: &str) -> &str {
    hash.get(..7).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::assert_text;

    const PLAIN: Layout = Layout { width: None, height: None, color: false };

    fn reply(content: Option<&str>, running: Vec<VersionReply>) -> UnitFileReply {
        UnitFileReply {
            unit: "web.service".into(),
            hash: content.map(|_| "04d0b3a0000".into()),
            content: content.map(Into::into),
            masked: true,
            running,
        }
    }

    fn version(content: Option<&str>, diff: Option<&[&str]>) -> VersionReply {
        VersionReply {
            hash: "5529c6d0000".into(),
            machines: vec!["m1".into(), "m2".into()],
            content: content.map(Into::into),
            diff: diff.map(|lines| lines.iter().map(ToString::to_string).collect()),
        }
    }

    fn text(file: &UnitFileReply, layout: Layout) -> String {
        unit_file(&ClusterState::default(), file, layout)
    }

    #[test]
    fn the_file_is_printed_as_it_is_except_for_what_a_terminal_would_obey() {
        let file = reply(Some("[Unit]\nDescription=a\tb\n"), vec![]);
        assert_eq!(text(&file, PLAIN), "[Unit]\nDescription=a\tb\n");

        let file = reply(Some("[Unit]\nDescription=\u{1b}[31m"), vec![]);
        assert_eq!(text(&file, PLAIN), "[Unit]\nDescription=\u{fffd}[31m\n");
    }

    #[test]
    fn what_differs_follows_with_signs_and_on_a_terminal_with_colours() {
        let differs = version(Some("a\n"), Some(&[" [Unit]", "-a", "+b"]));
        let file = reply(Some("[Unit]\nb\n"), vec![differs]);
        let plain = text(&file, PLAIN);
        assert!(plain.starts_with("[Unit]\nb\n\n"), "{plain}");
        assert!(plain.ends_with("\n\n [Unit]\n-a\n+b\n"), "{plain}");
        for named in ["m1, m2", "5529c6d", "04d0b3a"] {
            assert!(plain.contains(named), "{plain}");
        }

        let coloured = text(&file, Layout { color: true, ..PLAIN });
        assert!(coloured.contains("\u{1b}[31m-a\u{1b}[0m\n\u{1b}[32m+b"), "{coloured:?}");
    }

    #[test]
    fn it_is_in_these_words() {
        let one = VersionReply { machines: vec!["m1".into()], ..version(Some("a\n"), None) };
        let differs = version(Some("a\n"), Some(&[" [Unit]", "-a", "+b"]));
        let known = reply(Some("[Unit]\nb\n"), vec![differs, version(None, None)]);
        let deleted = reply(None, vec![one]);
        assert_text(
            "terminal-unit-file",
            &[known, deleted].map(|file| text(&file, PLAIN)).join("---\n"),
        );
    }

    #[test]
    fn a_version_that_nobody_has_is_named_and_one_that_fleet_has_replaced_by_none_is_shown() {
        let unknown = text(&reply(Some("a\n"), vec![version(None, None)]), PLAIN);
        assert!(unknown.contains("5529c6d"), "{unknown}");

        let deleted = text(&reply(None, vec![version(Some("[Unit]\n"), None)]), PLAIN);
        assert!(
            deleted.contains("web.service") && deleted.ends_with("\n\n[Unit]\n"),
            "{deleted}"
        );
    }
}
