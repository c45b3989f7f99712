complete -c fleet-monitor -s c -l fleetctl -d 'fleetctl command [default: fleetctl in $PATH]' -r
complete -c fleet-monitor -s m -l machine-freq -d 'Seconds between polls of machines, such as 0.5 or 30 [default: 10]' -r
complete -c fleet-monitor -s u -l unit-freq -d 'Seconds between polls of units [default: 2]' -r
complete -c fleet-monitor -s e -l endpoint -d 'etcd host, to watch or for fleetctl to connect to' -r
complete -c fleet-monitor -l endpoint-port -d 'Port of that etcd [default: 4001]' -r
complete -c fleet-monitor -s t -l tunnel -d 'ssh host for the tunnel of fleetctl; not with --endpoint' -r
complete -c fleet-monitor -l tunnel-port -d 'Port of that ssh server [default: 22]' -r
complete -c fleet-monitor -l source -d 'auto, fleetctl, api, etcd or replay; auto selects fleetctl if --fleetctl or --tunnel is set, etcd if --etcd or --endpoint leads to one, the API if its socket exists, or else fleetctl [default: auto]' -r
complete -c fleet-monitor -l api -d 'Address of fleet\'s HTTP API, as unix://PATH or http://HOST:PORT [default: unix:///var/run/fleet.sock]' -r
complete -c fleet-monitor -l etcd -d 'etcd members to watch, as http://HOST:PORT or https://HOST:PORT; not with --endpoint [default: for --source etcd, ports 2379 and 4001 of this host]' -r
complete -c fleet-monitor -l etcd-prefix -d 'Directory of fleet\'s registry in etcd [default: /_coreos.com/fleet]' -r
complete -c fleet-monitor -l etcd-ca -d 'CA certificates (PEM) used to verify etcd [default: those of this host]' -r
complete -c fleet-monitor -l etcd-cert -d 'TLS client certificate (PEM) for etcd; with --etcd-key' -r
complete -c fleet-monitor -l etcd-key -d 'Private key (PEM) of that certificate' -r
complete -c fleet-monitor -l etcd-user -d 'etcd user; the password is in --etcd-password-file' -r
complete -c fleet-monitor -l etcd-password-file -d 'File with the password of that user' -r
complete -c fleet-monitor -l poll-timeout -d 'Seconds until a poll times out and its child processes are killed [default: 10]' -r
complete -c fleet-monitor -l grace -d 'Seconds that a unit is kept as stale if fleet wants it but does not report it; 0: show fleet\'s lists as they are [default: 30]' -r
complete -c fleet-monitor -l keep-lost -d 'Seconds that the units of a lost machine are kept, unless fleet schedules them elsewhere [default: 3600]' -r
complete -c fleet-monitor -l record -d 'Append all readings to FILE, as JSON lines' -r
complete -c fleet-monitor -l replay -d 'Play a recording instead of watching a cluster' -r
complete -c fleet-monitor -l replay-speed -d 'Factor by which a recording is played faster [default: 1]' -r
complete -c fleet-monitor -s p -l port -d 'Port to listen on [default: 8989]' -r
complete -c fleet-monitor -l bind -d 'Address to listen on [default: all addresses]' -r
complete -c fleet-monitor -l publish -d 'changes: send a list when it has changed; polls: after every poll [default: changes]' -r
complete -c fleet-monitor -l unit-fields -d 'Columns of units: unit, load, active, sub, machine, hash, dstate, target, global, desc, verdict, key (for the prototype\'s dashboard) [default: unit,load,active,sub,machine]' -r
complete -c fleet-monitor -l machine-fields -d 'Columns of machines: machine, ip, metadata [default: machine,ip,metadata]' -r
complete -c fleet-monitor -l metrics-units -d 'Units with their own metrics, as globs such as web@*.service [default: none]' -r
complete -c fleet-monitor -l allowed-origins -d 'Additional browser origins to allow, such as https://ops.example.com; *: all [default: none]' -r
complete -c fleet-monitor -l allowed-hosts -d 'Additional host names to accept in requests; *: all [default: none]' -r
complete -c fleet-monitor -l token-file -d 'File with the token that every request must carry' -r
complete -c fleet-monitor -l max-clients -d 'Maximum number of clients; more get status 503 [default: 10000]' -r
complete -c fleet-monitor -l log -d 'error, warn, info, debug, trace, or a filter such as warn,fleet_monitor=debug [default: info]' -r
complete -c fleet-monitor -l log-to -d 'journal, stderr, or auto: the journal if stderr is connected to it [default: auto]' -r
complete -c fleet-monitor -l config -d 'Configuration file [default: /etc/fleet-monitor.toml]' -r -F
complete -c fleet-monitor -l env-file -d 'With --check-config: file with environment variables, read as systemd reads EnvironmentFile=' -r -F
complete -c fleet-monitor -l demo -d 'Play the built-in recording of a real cluster, in a loop'
complete -c fleet-monitor -l check-config -d 'Print every value that is in force and where it comes from, and which source a start would select; then exit, with status 78 if a start would'
complete -c fleet-monitor -s h -l help -d 'Print help'
complete -c fleet-monitor -s V -l version -d 'Print version'
