//! Parses the arguments of a call as each version of fleetctl does: which flags exist, and where
//! they are allowed.

use super::fixture::{Call, Fixture};

/// The list, or the unit file, that a call requests.
pub struct ListRequest {
    /// The command, such as `list-units` or `cat`; empty if there is none.
    pub command: String,
    /// The units that `cat` prints.
    pub units: Vec<String>,
    /// The columns to print.
    pub fields: Vec<String>,
    /// Whether IDs and hashes are printed in full length.
    pub full: bool,
    /// Whether the names of the columns are printed above the rows.
    pub legend: bool,
}

/// Flags that decide how fleetctl connects to the cluster.
#[derive(Default)]
struct Target {
    driver: Option<String>,
    endpoint: Option<String>,
}

impl ListRequest {
    /// Parses the arguments. Returns what fleetctl prints if it refuses them.
    pub fn parse(arguments: &[String], fixture: &Fixture) -> Result<Self, Call> {
        let mut request = Self {
            command: String::new(),
            units: Vec::new(),
            fields: Vec::new(),
            full: false,
            legend: true,
        };
        let mut target = Target::default();

        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" && request.command == "cat" {
                request.units.extend(rest.cloned());
                break;
            }
            match argument.strip_prefix('-') {
                Some(flag) => request.parse_flag(flag, &mut rest, &mut target, fixture)?,
                None => request.parse_command(argument, fixture)?,
            }
        }

        request.check_target(&target, fixture)?;
        Ok(request)
    }

    fn parse_command(&mut self, argument: &str, fixture: &Fixture) -> Result<(), Call> {
        if self.command == "cat" {
            self.units.push(argument.to_owned());
            return Ok(());
        }
        if self.command.is_empty() && argument == "cat" {
            argument.clone_into(&mut self.command);
            return Ok(());
        }
        if !self.command.is_empty() || !fixture.lists.contains_key(argument) {
            return Err(fixture.refusal("list-unitz", argument));
        }

        argument.clone_into(&mut self.command);
        Ok(())
    }

    /// Parses a flag without its first dash. Its value may be the next argument.
    fn parse_flag<'a>(
        &mut self,
        flag: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        target: &mut Target,
        fixture: &Fixture,
    ) -> Result<(), Call> {
        let version = fixture.major_and_minor();
        let is_cobra = is_cobra(version);
        let flag = match flag.strip_prefix('-') {
            Some(flag) => flag,
            None if is_cobra => return Err(fixture.shorthand(&self.command, flag)),
            None => flag,
        };
        let (name, value) = flag
            .split_once('=')
            .map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let mut value = || value.clone().or_else(|| rest.next().cloned()).unwrap_or_default();

        let global_allowed = self.command.is_empty() || is_cobra;
        let local_allowed = !self.command.is_empty();
        match name {
            "endpoint" if global_allowed => target.endpoint = Some(value()),
            "driver" if global_allowed && version >= (0, 9) => target.driver = Some(value()),
            "tunnel" if global_allowed => drop(value()),
            "request-timeout" if global_allowed && version >= (0, 6) => drop(value()),
            "ssh-timeout" if global_allowed && version >= (0, 9) => drop(value()),
            "ssh-username" if global_allowed && version >= (0, 10) => drop(value()),
            "fields" if local_allowed && self.command != "cat" => {
                self.fields = value()
                    .split(',')
                    .filter(|field| !field.is_empty())
                    .map(String::from)
                    .collect();
            }
            "full" if local_allowed && self.command != "cat" => self.full = true,
            "l" if local_allowed && !["cat", "list-unit-files"].contains(&&*self.command) => {
                self.full = true;
            }
            "no-legend" if local_allowed && self.command != "cat" => self.legend = false,
            _ => {
                let command = if self.command == "cat" {
                    "list-units"
                } else {
                    &self.command
                };
                return Err(fixture.refusal(command, name));
            }
        }
        Ok(())
    }

    fn check_target(&self, target: &Target, fixture: &Fixture) -> Result<(), Call> {
        let driver = target.driver.as_deref();
        if let Some(driver) = driver
            && driver != "etcd"
            && driver != "API"
        {
            return Err(Call::failure(format!(
                "Unable to initialize client: unrecognized driver \"{driver}\"\n"
            )));
        }

        if let Some(endpoint) = &target.endpoint
            && driver != Some("etcd")
            && is_api_endpoint(endpoint, fixture.major_and_minor())
            && let Some(text) = fixture.not_fleet.get(&self.command)
        {
            // No endpoint of the tests is fleet's API.
            return Err(Call::failure(text.clone()));
        }
        Ok(())
    }
}

/// Whether this version parses its arguments with the library cobra.
fn is_cobra(version: (u32, u32)) -> bool {
    version >= (0, 13)
}

/// Whether this version connects to fleet's API at this endpoint, unless a driver is named.
fn is_api_endpoint(endpoint: &str, version: (u32, u32)) -> bool {
    let has_etcd_port = [":4001", ":2379"].iter().any(|port| endpoint.ends_with(port));
    is_cobra(version) || version >= (0, 10) && !has_etcd_port
}
