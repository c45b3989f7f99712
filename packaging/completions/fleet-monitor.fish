# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_fleet_monitor_global_optspecs
    string join \n c/fleetctl= m/machine-freq= u/unit-freq= e/endpoint= endpoint-port= t/tunnel= tunnel-port= source= api= etcd= etcd-prefix= etcd-ca= etcd-cert= etcd-key= etcd-user= etcd-password-file= poll-timeout= grace= keep-lost= history= history-from= history-token-file= demo record= record-keep= replay= replay-speed= from= to= problem-after= alertmanager= alert-labels= webhook= webhook-secret-file= external-url= p/port= bind= listen= publish= unit-fields= machine-fields= metrics-units= journal-port= link= metrics-troubled= allowed-origins= allowed-hosts= token-file= tls-cert= tls-key= tls-client-ca= unit-files= max-clients= log= log-to= config= check-config env-file= h/help V/version
end

function __fish_fleet_monitor_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_fleet_monitor_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_fleet_monitor_using_subcommand
    set -l cmd (__fish_fleet_monitor_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s c -l fleetctl -d 'fleetctl command [default: fleetctl in $PATH]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s m -l machine-freq -d 'Seconds between polls of machines, such as 0.5 or 30 [default: 10]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s u -l unit-freq -d 'Seconds between polls of units [default: 2]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s e -l endpoint -d 'etcd host, to watch or for fleetctl to connect to' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l endpoint-port -d 'Port of that etcd [default: 4001]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s t -l tunnel -d 'ssh host for the tunnel of fleetctl; not with --endpoint' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l tunnel-port -d 'Port of that ssh server [default: 22]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l source -d 'auto, fleetctl, api, etcd or replay; auto selects fleetctl if --fleetctl or --tunnel is set, etcd if --etcd or --endpoint leads to one, the API if its socket exists, or else fleetctl [default: auto]' -r -f -a "auto\t''
fleetctl\t''
api\t''
etcd\t''
replay\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l api -d 'Address of fleet\'s HTTP API, as unix://PATH or http://HOST:PORT [default: unix:///var/run/fleet.sock]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd -d 'etcd members to watch, as http://HOST:PORT or https://HOST:PORT; not with --endpoint [default: for --source etcd, ports 2379 and 4001 of this host]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd-prefix -d 'Directory of fleet\'s registry in etcd [default: /_coreos.com/fleet]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd-ca -d 'CA certificates (PEM) used to verify etcd [default: those of this host]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd-cert -d 'TLS client certificate (PEM) for etcd; with --etcd-key' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd-key -d 'Private key (PEM) of that certificate' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd-user -d 'etcd user; the password is in --etcd-password-file' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l etcd-password-file -d 'File with the password of that user' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l poll-timeout -d 'Seconds until a poll times out and its child processes are killed [default: 10]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l grace -d 'Seconds that a unit is kept as stale if fleet wants it but does not report it; 0: show fleet\'s lists as they are [default: 30]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l keep-lost -d 'Seconds that a lost machine is remembered, with its units unless fleet schedules them elsewhere [default: 3600]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l history -d 'Seconds that the latest events of a unit or machine are kept after it is gone; 0: no events of single units and machines [default: 86400]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l history-from -d 'Other monitors of the same cluster to ask for their history at the start, as http://HOST:8989; this one itself may be among them [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l history-token-file -d 'File with the token of these monitors [default: the token of --token-file]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l record -d 'Append all readings to FILE; compressed unless its name ends in .jsonl' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l record-keep -d 'How much of the recording to keep: an age, a size or both, such as 24h,1GiB. Older parts are in files beside FILE, with the time in their names [default: all of it, in one file]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l replay -d 'Play a recording instead of watching a cluster' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l replay-speed -d 'Factor by which a recording is played faster [default: 1]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l from -d 'Where to begin in a recording: a time such as 2026-11-27T14:30:00Z, a time of day in UTC such as 14:30, or a time since its beginning such as 15m [default: its beginning]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l to -d 'Where to end, in the same way [default: its end]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l problem-after -d 'Seconds that something has to be wrong until it is a problem, also by kind, as in 30,failed=10,stale=300 [default: 30]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l alertmanager -d 'Alertmanagers to send each problem to, as http://HOST:9093; several are those of a cluster [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l alert-labels -d 'Labels of all alerts, such as cluster=west,team=infra [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l webhook -d 'URL to post to when a problem begins and when it ends' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l webhook-secret-file -d 'File with the secret that signs what is posted there' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l external-url -d 'Address of the page, for links in alerts [default: http://, this host\'s name, and --port]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s p -l port -d 'Port to listen on [default: 8989]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l bind -d 'Address to listen on [default: all addresses]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l listen -d 'Additional addresses to listen on, such as unix:///run/fleet-monitor.sock or 127.0.0.1:8990 [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l publish -d 'changes: send a list when it has changed; polls: after every poll [default: changes]' -r -f -a "changes\t''
polls\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l unit-fields -d 'Columns of units: unit, load, active, sub, machine, hash, dstate, target, global, desc, verdict, key (for the prototype\'s dashboard) [default: unit,load,active,sub,machine]' -r -f -a "unit\t''
load\t''
active\t''
sub\t''
machine\t''
hash\t''
dstate\t''
target\t''
global\t''
desc\t''
verdict\t''
key\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l machine-fields -d 'Columns of machines: machine, ip, metadata [default: machine,ip,metadata]' -r -f -a "machine\t''
ip\t''
metadata\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l metrics-units -d 'Units with their own metrics, as globs such as web@*.service [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l journal-port -d 'Port of systemd-journal-gatewayd on the machines (19531), to show logs [default: no logs]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l link -d 'Link to show for units and machines, as NAME=URL; the URL may have {unit}, {machine}, {ip}, {prefix} and {instance}. May be repeated [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l metrics-troubled -d 'Maximum number of units in trouble that the metrics name; 0: none [default: 1000]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l allowed-origins -d 'Additional browser origins to allow, such as https://ops.example.com; *: all [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l allowed-hosts -d 'Additional host names to accept in requests; *: all [default: none]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l token-file -d 'File with the token that every request must carry' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l tls-cert -d 'Certificate (PEM) for HTTPS and WSS on all TCP ports; with --tls-key' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l tls-key -d 'The private key (PEM) of that certificate' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l tls-client-ca -d 'CA certificates (PEM); every client must have a certificate of one of them' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l unit-files -d 'Show unit files to clients: off, masked (values that look like secrets are hidden) or full; the flag alone means masked [default: off]' -r -f -a "off\t''
masked\t''
full\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l max-clients -d 'Maximum number of clients; more get status 503 [default: 10000]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l log -d 'error, warn, info, debug, trace, or a filter such as warn,fleet_monitor=debug [default: info]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l log-to -d 'journal, stderr, or auto: the journal if stderr is connected to it [default: auto]' -r -f -a "auto\t''
journal\t''
stderr\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l config -d 'Configuration file [default: /etc/fleet-monitor.toml]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l env-file -d 'With --check-config: file with environment variables, read as systemd reads EnvironmentFile=' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l demo -d 'Play the built-in recording of a real cluster, in a loop'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -l check-config -d 'Print every value that is in force and where it comes from, and which source a start would select; then exit, with status 78 if a start would'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s h -l help -d 'Print help'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -s V -l version -d 'Print version'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "status" -d 'Show the state of the cluster: what is wrong, machines, the age of the data'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "watch" -d 'Show the cluster live, on the whole screen; or one line per event'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "unit" -d 'Show all that is known of some units'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "logs" -d 'Show the log of a unit, from the machines that run it or ran it before'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "check" -d 'Check the cluster for Nagios, Icinga, Sensu or Consul'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "man" -d 'Print the manual page, for man -l -'
complete -c fleet-monitor -n "__fish_fleet_monitor_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l time -d 'How times are written [default: utc, or relative on less than 100 columns]' -r -f -a "relative\t'How long ago they were'
local\t'In the time zone of this terminal, and how long ago'
utc\t'In UTC, and how long ago'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l url -d 'The monitor: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default: $FLEET_MONITOR_URL, or http://localhost:8989]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l token-file -d 'File with the token that the monitor requires [default: $FLEET_MONITOR_TOKEN_FILE]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l ca -d 'CA certificates (PEM) to verify the monitor with [default: $FLEET_MONITOR_CA, or this host\'s]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l cert -d 'Certificate (PEM) for a monitor that requires one; with --key [default: $FLEET_MONITOR_CERT]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l key -d 'The private key (PEM) of that certificate [default: $FLEET_MONITOR_KEY]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l all -d 'List every unit'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -l json -d 'Print JSON: the object of /v2/state'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l time -d 'How times are written at first; the key t changes it [default: relative]' -r -f -a "relative\t'How long ago they were'
local\t'In the time zone of this terminal, and how long ago'
utc\t'In UTC, and how long ago'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l url -d 'The monitor: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default: $FLEET_MONITOR_URL, or http://localhost:8989]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l token-file -d 'File with the token that the monitor requires [default: $FLEET_MONITOR_TOKEN_FILE]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l ca -d 'CA certificates (PEM) to verify the monitor with [default: $FLEET_MONITOR_CA, or this host\'s]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l cert -d 'Certificate (PEM) for a monitor that requires one; with --key [default: $FLEET_MONITOR_CERT]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l key -d 'The private key (PEM) of that certificate [default: $FLEET_MONITOR_KEY]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -l plain -d 'Print one line per event, as into a pipe'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l time -d 'How times are written [default: utc]' -r -f -a "relative\t'How long ago they were'
local\t'In the time zone of this terminal, and how long ago'
utc\t'In UTC, and how long ago'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l url -d 'The monitor: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default: $FLEET_MONITOR_URL, or http://localhost:8989]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l token-file -d 'File with the token that the monitor requires [default: $FLEET_MONITOR_TOKEN_FILE]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l ca -d 'CA certificates (PEM) to verify the monitor with [default: $FLEET_MONITOR_CA, or this host\'s]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l cert -d 'Certificate (PEM) for a monitor that requires one; with --key [default: $FLEET_MONITOR_CERT]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l key -d 'The private key (PEM) of that certificate [default: $FLEET_MONITOR_KEY]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l file -d 'Print the unit file, and what differs on machines that run another version; the monitor needs --unit-files'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -l json -d 'Print JSON: the rows of /v2/state'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand unit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -s n -l lines -d 'Begin with so many of the last lines' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l machine -d 'Show only the log on this machine: its ID or its address' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l url -d 'The monitor: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default: $FLEET_MONITOR_URL, or http://localhost:8989]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l token-file -d 'File with the token that the monitor requires [default: $FLEET_MONITOR_TOKEN_FILE]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l ca -d 'CA certificates (PEM) to verify the monitor with [default: $FLEET_MONITOR_CA, or this host\'s]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l cert -d 'Certificate (PEM) for a monitor that requires one; with --key [default: $FLEET_MONITOR_CERT]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l key -d 'The private key (PEM) of that certificate [default: $FLEET_MONITOR_KEY]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -s f -l follow -d 'Go on with what is written from now on, also after the unit has moved'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -l json -d 'Print JSON: one object per line, as /v2/logs sends it'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l warning -d 'What is a warning: VERDICT, VERDICT=COUNT (the least number of units), or COUNT for all verdicts together [default, without --critical: 1]' -r -f -a "failed\t''
crash_loop\t''
machine_lost\t''
unreported\t''
unscheduled\t''
ghost\t''
stale\t''
outdated\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l critical -d 'What is critical [default, without --warning: failed,crash_loop,machine_lost, unreported]' -r -f -a "failed\t''
crash_loop\t''
machine_lost\t''
unreported\t''
unscheduled\t''
ghost\t''
stale\t''
outdated\t''"
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l for -d 'Count a unit if its verdict has lasted for so many seconds [default: if it has a problem, as the --problem-after of the monitor defines it]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l url -d 'The monitor: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default: $FLEET_MONITOR_URL, or http://localhost:8989]' -r -f
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l token-file -d 'File with the token that the monitor requires [default: $FLEET_MONITOR_TOKEN_FILE]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l ca -d 'CA certificates (PEM) to verify the monitor with [default: $FLEET_MONITOR_CA, or this host\'s]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l cert -d 'Certificate (PEM) for a monitor that requires one; with --key [default: $FLEET_MONITOR_CERT]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -l key -d 'The private key (PEM) of that certificate [default: $FLEET_MONITOR_KEY]' -r -F
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand check" -s h -l help -d 'Print help'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand man" -s h -l help -d 'Print help'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "status" -d 'Show the state of the cluster: what is wrong, machines, the age of the data'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "watch" -d 'Show the cluster live, on the whole screen; or one line per event'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "unit" -d 'Show all that is known of some units'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "logs" -d 'Show the log of a unit, from the machines that run it or ran it before'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "check" -d 'Check the cluster for Nagios, Icinga, Sensu or Consul'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "completions" -d 'Print the completions for a shell'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "man" -d 'Print the manual page, for man -l -'
complete -c fleet-monitor -n "__fish_fleet_monitor_using_subcommand help; and not __fish_seen_subcommand_from status watch unit logs check completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
