//! What an operator can do next about a unit or a machine: commands to copy, and links. Pure.
//!
//! The server publishes templates (`/v2/actions`). The page and the commands of the terminal put
//! the values of a row into them, in the same way: `tests/fixtures/actions/cases.json` tests both.
//! It must not know which source is used, nor where a link was set.

mod commands;
mod shell;
mod template;
#[cfg(test)]
mod tests;
mod url;

use serde::{Deserialize, Serialize};

pub use commands::{ClusterAccess, commands};
pub use template::{Placeholder, TemplateError};
pub use url::{LinkError, MAX_LINKS};

/// The JSON object of `/v2/actions`. Unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actions {
    /// Commands, with what is most useful first.
    pub commands: CommandTemplates,
    /// Links that the operator has set, in their order.
    pub links: Vec<LinkTemplate>,
    /// Whether the server serves the logs of units.
    pub logs: bool,
    /// How the server serves unit files: `masked` or `full`; `None`: not at all.
    pub unit_files: Option<String>,
}

/// The commands for a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandTemplates {
    /// Those about a unit on one machine, or on none.
    pub unit: Vec<CommandTemplate>,
    /// Those about a machine.
    pub machine: Vec<CommandTemplate>,
}

/// A command with placeholders for the values of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandTemplate {
    /// What it shows, such as `journal`.
    pub name: String,
    /// The command. Within single quotes is a command for the shell of another machine.
    pub command: String,
    /// What has to be so of the row; all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
}

/// A link with placeholders for the values of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTemplate {
    /// What people click on.
    pub name: String,
    /// The URL.
    pub url: String,
}

/// Something about a row on which a command depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The unit is not a global one.
    Single,
    /// The unit is a global one, with which many commands of fleetctl do not work.
    Global,
    /// The unit is on a machine that is in the cluster, or the machine itself is.
    Present,
    /// The machine has left the cluster: fleetctl does not know it any more.
    Lost,
    /// The unit is on no machine.
    Nowhere,
    /// fleet has the unit file.
    File,
    /// fleet has no unit file: fleetctl does not know the unit.
    NoFile,
    /// A condition of a newer server. It is never met.
    #[serde(other)]
    Unknown,
}

/// What an action is about: a unit on one machine or on none, or a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionSubject<'a> {
    /// The unit's full name; `None` for a machine.
    pub unit: Option<&'a str>,
    /// The machine's ID; `None` for a unit on no machine.
    pub machine: Option<&'a str>,
    /// The machine's address; `None` if it is not known.
    pub ip: Option<&'a str>,
    /// Whether the unit is a global one.
    pub is_global: bool,
    /// Whether the machine has left the cluster.
    pub is_lost: bool,
    /// Whether fleet has the unit file.
    pub has_file: bool,
}

impl ActionSubject<'_> {
    fn meets(&self, condition: Condition) -> bool {
        match condition {
            Condition::Single => !self.is_global,
            Condition::Global => self.is_global,
            Condition::Present => self.machine.is_some() && !self.is_lost,
            Condition::Lost => self.machine.is_some() && self.is_lost,
            Condition::Nowhere => self.machine.is_none(),
            Condition::File => self.has_file,
            Condition::NoFile => !self.has_file,
            Condition::Unknown => false,
        }
    }
}

impl CommandTemplate {
    /// The command for a subject. `None` if it does not apply to it, if a value is not known, or if
    /// a value could mean something else to a shell or a terminal.
    pub fn expand(&self, subject: &ActionSubject<'_>) -> Option<String> {
        let applies = self.when.iter().all(|condition| subject.meets(*condition));

        applies.then(|| shell::expand(&self.command, subject)).flatten()
    }
}

impl LinkTemplate {
    /// A link, if both name and URL are valid.
    ///
    /// # Errors
    ///
    /// What is wrong with the name or the URL.
    pub fn new(name: &str, url: &str) -> Result<Self, LinkError> {
        url::check_name(name)?;
        url::check(url)?;

        Ok(Self { name: name.to_owned(), url: url.to_owned() })
    }

    /// The URL for a subject. `None` if a value is not known, or could lead elsewhere.
    pub fn expand(&self, subject: &ActionSubject<'_>) -> Option<String> {
        url::expand(&self.url, subject)
    }
}

impl Actions {
    /// The commands that apply to a subject, the most useful first.
    pub fn commands_for(&self, subject: &ActionSubject<'_>) -> Vec<String> {
        let templates = match subject.unit {
            Some(_) => &self.commands.unit,
            None => &self.commands.machine,
        };

        templates
            .iter()
            .filter_map(|template| template.expand(subject))
            .collect()
    }

    /// The links that apply to a subject: names and URLs.
    pub fn links_for(&self, subject: &ActionSubject<'_>) -> Vec<(&str, String)> {
        self.links
            .iter()
            .filter_map(|link| Some((&*link.name, link.expand(subject)?)))
            .collect()
    }
}
