#!/bin/sh
# Plays a cluster of fleet into etcd, over and over: cluster.sh STEPS ETCD [TTL]
#
# STEPS is a file like cluster.txt, which says what a step is. ETCD is the URL of an etcd with the v2 API. TTL is for how
# many seconds fleetd's keys are valid, 30 as in fleet; they are renewed three times in that time. It needs curl.
set -eu

steps=$1
registry=$2/v2/keys/_coreos.com/fleet
ttl=${3:-30}

directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT
trap 'exit 0' TERM INT

# The keys that are renewed: a KEY and its VALUE on each line.
leases=$directory/leases
: >"$leases"

request() { # ARGUMENTS OF curl
    until curl --silent --show-error --max-time 10 --output /dev/null "$@"; do sleep 1; done
}

# Writes the leases without some of them.
keep() { # COMMAND THAT SAYS OF A KEY AND ITS VALUE WHETHER IT STAYS
    while read -r key value; do
        if "$@" "$key" "$value"; then printf '%s %s\n' "$key" "$value"; fi
    done <"$leases" >"$leases.new"
    mv "$leases.new" "$leases"
}

is_elsewhere() { # DIRECTORY OR KEY, KEY
    case $2 in "$1" | "$1"/*) return 1 ;; esac
}

is_of_another() { # MACHINE, KEY, VALUE
    case "$2 $3" in *"$1"*) return 1 ;; esac
}

# All in one connection. An etcd that is away gets the keys at the next time.
renew() {
    set --
    while read -r key value; do
        set -- "$@" --next --silent --show-error --fail --max-time 10 --output /dev/null \
            --request PUT --data-urlencode "value=$value" --data "ttl=$ttl" "$registry/$key"
    done <"$leases"
    [ $# = 0 ] || { shift && curl "$@" || true; }
}

wait_for() { # SECONDS
    passed=0
    while [ "$passed" -lt "$1" ]; do
        sleep 1
        passed=$((passed + 1))
        age=$((age + 1))
        if [ $((age * 3)) -ge "$ttl" ]; then
            renew
            age=0
        fi
    done
}

play() {
    while read -r step subject content; do
        case $step in
            set) request --fail --request PUT --data-urlencode "value=$content" "$registry/$subject" ;;
            lease)
                request --fail --request PUT --data-urlencode "value=$content" --data "ttl=$ttl" "$registry/$subject"
                keep is_elsewhere "$subject"
                printf '%s %s\n' "$subject" "$content" >>"$leases"
                ;;
            delete)
                keep is_elsewhere "$subject"
                request --request DELETE "$registry/$subject?recursive=true"
                ;;
            silence) keep is_of_another "$subject" ;;
            wait) wait_for "$subject" ;;
            say) echo "$subject $content" ;;
            '' | '#'*) ;;
            *)
                echo "$steps has an unknown step: $step" >&2
                exit 2
                ;;
        esac
    done
}

age=0
sed '/^repeat$/,$d' "$steps" >"$directory/beginning"
sed '1,/^repeat$/d' "$steps" >"$directory/round"
play <"$directory/beginning"
while :; do play <"$directory/round"; done
