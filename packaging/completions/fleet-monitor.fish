complete -c fleet-monitor -s c -l fleetctl -d 'fleetctl command [default: fleetctl in $PATH]' -r
complete -c fleet-monitor -s m -l machine-freq -d 'Seconds between polls of machines, such as 0.5 or 30 [default: 10]' -r
complete -c fleet-monitor -s u -l unit-freq -d 'Seconds between polls of units [default: 2]' -r
complete -c fleet-monitor -s e -l endpoint -d 'An etcd host, to watch or for fleetctl to connect to' -r
complete -c fleet-monitor -l endpoint-port -d 'The port of that etcd [default: 4001]' -r
complete -c fleet-monitor -s t -l tunnel -d 'An ssh host for fleetctl to tunnel through; not with --endpoint' -r
complete -c fleet-monitor -l tunnel-port -d 'The port of that ssh server [default: 22]' -r
complete -c fleet-monitor -l source -d 'auto, fleetctl, api, etcd or replay; auto is etcd if --endpoint leads there, the API if its socket is there and nothing asks for fleetctl, or else fleetctl [default: auto]' -r
complete -c fleet-monitor -l api -d 'Where the fleet HTTP API is, as unix://PATH or http://HOST:PORT [default: unix:///var/run/fleet.sock]' -r
complete -c fleet-monitor -l etcd -d 'Members of etcd, http://HOST:PORT or https://HOST:PORT, to watch; not with --endpoint [default: for --source etcd, ports 2379 and 4001 of this host]' -r
complete -c fleet-monitor -l etcd-prefix -d 'etcd directory of fleet\'s registry [default: /_coreos.com/fleet]' -r
complete -c fleet-monitor -l etcd-ca -d 'CA certificates (PEM) to verify etcd [default: those of this host]' -r
complete -c fleet-monitor -l etcd-cert -d 'Certificate (PEM) to show to etcd; with --etcd-key' -r
complete -c fleet-monitor -l etcd-key -d 'The private key (PEM) of that certificate' -r
complete -c fleet-monitor -l etcd-user -d 'etcd user to authenticate as; its password is in --etcd-password-file' -r
complete -c fleet-monitor -l etcd-password-file -d 'File with the password of that user' -r
complete -c fleet-monitor -l poll-timeout -d 'Seconds until a poll is given up, its children killed [default: 10]' -r
complete -c fleet-monitor -l grace -d 'Seconds that a row stays as stale while fleet wants it but does not report it; 0: off [default: 30]' -r
complete -c fleet-monitor -l keep-lost -d 'Seconds that the rows of a lost machine stay, unless fleet has its units elsewhere [default: 3600]' -r
complete -c fleet-monitor -l record -d 'Append what the source says to FILE, as JSON lines' -r
complete -c fleet-monitor -l replay -d 'Play such a file instead of watching a cluster' -r
complete -c fleet-monitor -l replay-speed -d 'How many times faster a recording is played [default: 1]' -r
complete -c fleet-monitor -s p -l port -d 'Port to listen on [default: 8989]' -r
complete -c fleet-monitor -l bind -d 'Address to listen on [default: all, which is :: or, where there is no IPv6, 0.0.0.0]' -r
complete -c fleet-monitor -l publish -d 'changes: send a list when it has changed; polls: after every poll [default: changes]' -r
complete -c fleet-monitor -l unit-fields -d 'Columns of units, from unit, load, active, sub, machine, hash, dstate, target, global, desc, verdict [default: unit,load,active,sub,machine]' -r
complete -c fleet-monitor -l machine-fields -d 'Columns of machines, from machine, ip, metadata [default: machine,ip,metadata]' -r
complete -c fleet-monitor -l metrics-units -d 'Units with metrics of their own, as globs such as web@*.service [default: none]' -r
complete -c fleet-monitor -l allowed-origins -d 'Browser origins to allow besides this host\'s own, such as https://ops.example.com, or * for all [default: none]' -r
complete -c fleet-monitor -l allowed-hosts -d 'Names that this host may be called by besides its own, or * for any [default: none]' -r
complete -c fleet-monitor -l token-file -d 'File with the token that every request must carry' -r
complete -c fleet-monitor -l max-clients -d 'Clients at a time; 503 for more [default: 10000]' -r
complete -c fleet-monitor -l log -d 'error, warn, info, debug, trace, or a filter such as warn,fleet_monitor=debug [default: info]' -r
complete -c fleet-monitor -l log-to -d 'journal, stderr, or auto: the journal if stderr leads there [default: auto]' -r
complete -c fleet-monitor -l config -d 'Configuration file [default: /etc/fleet-monitor.toml]' -r -F
complete -c fleet-monitor -l demo -d 'Show the built-in recording of a real cluster, in a loop'
complete -c fleet-monitor -l check-config -d 'Say what is in force and where each value came from, then exit'
complete -c fleet-monitor -s h -l help -d 'Print help'
complete -c fleet-monitor -s V -l version -d 'Print version'
