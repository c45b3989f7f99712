//! Recognises the variables that Kubernetes and docker set in a container for each service or
//! linked container.
//!
//! For a service named `fleet-monitor`, or `fleet-monitor-canary`, their names begin like our own
//! variables. This module does not know which options exist.

/// How the value of a variable `…_PORT` begins. Kubernetes has all three, docker the first two.
const SCHEMES: [&str; 3] = ["tcp://", "udp://", "sctp://"];

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// What may follow `…_PORT_8989_TCP`. docker uses `START` and `END` for ranges of ports.
const PORT_DETAILS: [&str; 8] =
    ["", "PROTO", "PORT", "ADDR", "START", "END", "PORT_START", "PORT_END"];

/// Whether a variable was set by Kubernetes or docker. If the name alone is ambiguous, the value
/// decides.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    // Between the prefix and these patterns may be the rest of the service's name.
    let Some(rest) = name.strip_prefix("FLEET_MONITOR") else {
        return false;
    };
    let has_address = SCHEMES.iter().any(|scheme| value.starts_with(scheme));

    rest.ends_with("_SERVICE_HOST")
        || rest.ends_with("_SERVICE_PORT")
        || rest.contains("_SERVICE_PORT_")
        || (rest.ends_with("_PORT") && has_address)
        || (rest.ends_with("_NAME") && value.starts_with('/'))
        || rest.contains("_ENV_")
        || rest
            .match_indices("_PORT_")
            .any(|(at, mark)| is_numbered_port(&rest[at + mark.len()..]))
}

/// Whether the text is `8989_TCP`, alone or with a detail, as in `8989_TCP_ADDR`.
fn is_numbered_port(text: &str) -> bool {
    let Some((number, rest)) = text.split_once('_') else {
        return false;
    };
    let (protocol, detail) = rest.split_once('_').unwrap_or((rest, ""));

    number.parse::<u16>().is_ok() && PROTOCOLS.contains(&protocol) && PORT_DETAILS.contains(&detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::OPTIONS;

    /// The same for a variable that begins with `FLEET_MONITOR_`.
    fn is_link(name: &str, value: &str) -> bool {
        is_service_link(&format!("FLEET_MONITOR_{name}"), value)
    }

    #[test]
    fn variables_of_kubernetes_and_docker_are_known_also_of_services_with_longer_names() {
        let of_kubernetes = [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "8989"),
            ("SERVICE_PORT_HTTP", "8989"),
            ("PORT", "tcp://10.0.0.1:8989"),
            ("PORT_8989_TCP", "tcp://10.0.0.1:8989"),
            ("PORT_8989_TCP_PROTO", "tcp"),
            ("PORT_8989_TCP_PORT", "8989"),
            ("PORT_8989_TCP_ADDR", "10.0.0.1"),
            ("PORT_53_UDP", "udp://10.0.0.1:53"),
            ("PORT_7_SCTP_ADDR", "fd00::1"),
        ];
        let of_docker = [
            ("NAME", "/web/fleet-monitor"),
            ("ENV_PATH", "/bin"),
            ("ENV_FLEET_MONITOR_UNIT_FREQ", "fast"),
            ("PORT_80_TCP_START", "tcp://172.17.0.2:80"),
            ("PORT_80_TCP_PORT_END", "90"),
        ];
        for (name, value) in of_kubernetes.into_iter().chain(of_docker) {
            assert!(is_link(name, value), "{name}");
            assert!(
                is_link(&format!("CANARY_2_{name}"), value),
                "{name} of fleet-monitor-canary-2"
            );
        }
    }

    #[test]
    fn an_option_is_a_services_variable_only_where_it_is_a_port_with_an_address_as_its_value() {
        for (key, _) in OPTIONS {
            let name = key.to_uppercase();
            assert_eq!(is_link(&name, "tcp://[fd00::1]:8989"), key.ends_with("port"), "{name}");
            for value in ["8989", "/value", "http://10.0.0.1:8989"] {
                assert!(!is_link(&name, value), "{name}={value}");
            }
        }
    }

    #[test]
    fn what_only_resembles_a_services_variable_is_none() {
        for (name, value) in [
            ("PRT", "tcp://10.0.0.1:8989"),
            ("PORTS", "tcp://10.0.0.1:8989"),
            ("UNIT_PORT", "8989"),
            ("NAME", "core-01"),
            ("SERVICE", "10.0.0.1"),
            ("PORT_HTTP", "8989"),
            ("PORT_8989", "8989"),
            ("PORT_89890_TCP", "tcp://10.0.0.1:89890"),
            ("PORT_8989_TCP_FREQ", "2"),
        ] {
            assert!(!is_link(name, value), "{name}");
        }
    }
}
