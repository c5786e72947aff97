# shellcheck shell=bash
# What the other scripts here share: packages, the unprivileged user, devices, the storage.conf of that user, a Debian root file
# system. Sourced, not run. Everything is done once and found again by the next script.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=/var/tmp/coracle-contrib
user=${CORACLE_TEST_USER:-coracle-test}

# private_dir PATH: a directory that is ours alone. Programs are run from it, and its name can be foretold by other users.
private_dir() {
    mkdir -p -m 0755 "$1"
    if [ -L "$1" ] || [ ! -O "$1" ] || [ -n "$(find "$1" -maxdepth 0 -perm /022)" ]; then
        die "$1 is not ours alone (owner $(stat -c %U "$1"))" "look at what is in it, and remove it"
    fi
}

say() { printf '\n# %s\n' "$*"; }
die() { printf 'Error: %s\n' "$1" >&2; shift; for hint; do printf 'hint: %s\n' "$hint" >&2; done; exit 1; }

# help_or_die USAGE WORD: for --help, how the script is called, and what the comment at its head says; no other word is understood.
help_or_die() {
    case $2 in
        -h | --help) printf 'usage: %s\n\n' "$1"; sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) die "unknown argument \"$2\"" "usage: $1" ;;
    esac
}

# need_packages NAME…: installs what is missing; without root it names the exact packages and ends.
need_packages() {
    local missing=() name
    if ! command -v dpkg-query >/dev/null; then
        die "this machine has no dpkg: the packages are named as Debian has them" "install what is needed of: $*" \
            "then, with a Rust toolchain: cargo build --release"
    fi
    for name; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        die "these packages are missing: ${missing[*]}" "apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# first_free_id: the first id above all the ranges of subordinate ids on standard input, 100000 if there are none.
first_free_id() { awk -F: '{ end = $2 + $3; if (end > max) max = end } END { print (max < 100000 ? 100000 : max) }'; }

# ensure_user: the unprivileged user that everything runs as: the caller, or, for root, one of our own with subordinate ids.
ensure_user() {
    if [ "$(id -u)" -ne 0 ]; then
        user=$(id -un)
        work=${XDG_CACHE_HOME:-$HOME/.cache}/coracle-contrib
        private_dir "$work"
        local table next
        # The first range above all that are given, in either table.
        next=$(cat /etc/subuid /etc/subgid 2>/dev/null | first_free_id)
        for table in /etc/subuid /etc/subgid; do
            grep -qsE "^($user|$(id -u)):" "$table" || die "$table has no subordinate ids for $user" \
                "as root: usermod --add-subuids $next-$((next + 65535)) --add-subgids $next-$((next + 65535)) $user"
        done
        return
    fi
    id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
    local file next
    for file in /etc/subuid /etc/subgid; do
        touch "$file"
        if ! grep -q "^$user:" "$file"; then
            next=$(first_free_id <"$file")
            echo "$user:$next:65536" >> "$file"
        fi
    done
    home=$(getent passwd "$user" | cut -d: -f6)
    runtime=/run/user/$(id -u "$user")
    install -d -m 0755 /run/user
    install -d -m 0700 -o "$user" -g "$(id -gn "$user")" "$runtime"
    private_dir "$work"
    # On a fresh machine these may start closed to users.
    [ ! -e /dev/fuse ] || chmod 666 /dev/fuse
    [ ! -e /dev/net/tun ] || chmod 666 /dev/net/tun
}

# as_user COMMAND…: in the user's home and runtime directory, with nothing else of our environment but the proxies.
as_user() {
    if [ "$(id -u)" -ne 0 ]; then PATH="$work/bin:$PATH" "$@"; return; fi
    local -a pass=()
    local name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!name:-}" ] || pass+=("$name=${!name}")
    done
    (cd "$home" && runuser -u "$user" -- env -i HOME="$home" USER="$user" XDG_RUNTIME_DIR="$runtime" LC_ALL=C.UTF-8 \
        TERM="${TERM:-dumb}" PATH="$work/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "${pass[@]}" "$@")
}

# storage_conf: podman's own default may be vfs (Debian 12, rootless), and one store can't serve two drivers: all tools are told
# overlay before podman runs for the first time. A file that is there is left as it is.
storage_conf() {
    # shellcheck disable=SC2016
    as_user sh -c '
        dir=$HOME/.config/containers
        mkdir -p "$dir"
        [ -e "$dir/storage.conf" ] || printf "[storage]\ndriver = \"overlay\"\n" > "$dir/storage.conf"
        [ -e "$dir/policy.json" ] || [ -e /etc/containers/policy.json ] ||
            printf "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n" > "$dir/policy.json"'
}

# debian_tar: makes $work/debian.tar, a minimal Debian root file system, from the package source that this machine's own apt
# uses. Returns 1, with a line that says so, where it cannot be reached.
debian_tar() {
    [ ! -s "$work/debian.tar" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then echo "# (debootstrap needs root: no Debian root file system)"; return 1; fi
    local source suite root=$work/debian
    apt-get update -qq || true
    read -r source suite < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | head -n 1)
    rm -rf "$root"
    if ! debootstrap --variant=minbase "$suite" "$root" "$source" > "$work/debootstrap.log" 2>&1; then
        echo "# (the package source of this machine could not be reached: no Debian root file system)"
        rm -rf "$root"
        return 1
    fi
    # The machine's own package sources, and its proxy if it has one, serve inside as well.
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/etc/apt/sources.list
    cp -a /etc/apt/sources.list* "$root/etc/apt/" 2>/dev/null || true
    apt-config dump Acquire | grep -E '^Acquire::(https?::.*Proxy|Check-(Date|Valid-Until)) ' > "$root/etc/apt/apt.conf.d/99machine" || true
    cp /usr/share/keyrings/*debian* "$root/usr/share/keyrings/" 2>/dev/null || true
    tar --numeric-owner --one-file-system -C "$root" -cf "$work/debian.tar.part" .
    chmod 644 "$work/debian.tar.part"
    mv "$work/debian.tar.part" "$work/debian.tar"
    rm -rf "$root"
}

# need_docker: installs docker.io, without the daemon that the package would start: it changes the firewall.
need_docker() {
    local policy=/usr/sbin/policy-rc.d
    if [ "$(id -u)" -ne 0 ] || [ -e "$policy" ] || [ -x /usr/bin/docker ]; then need_packages docker.io; return; fi
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    (need_packages docker.io) || { rm -f "$policy"; exit 1; }
    rm -f "$policy"
}

# start_docker: a Docker daemon of our own, in a private directory and without a network of its own, that the test user may talk to;
# sets DOCKER_HOST. It ends with this script, however that ends. Returns 1, with a line that says why, where there can be none.
start_docker() {
    if [ "$(id -u)" -ne 0 ]; then echo "# (Docker's daemon has to be started by root: nothing is compared with BuildKit)"; return 1; fi
    need_docker
    local dir
    for dir in /var/tmp/coracle-docker-*; do
        [ ! -d "$dir" ] || [ -d "/proc/${dir##*-}" ] || remove_docker_dir "$dir"
    done
    docker_dir=$(mktemp -d --suffix="-$$" /var/tmp/coracle-docker-XXXXXX)
    chmod 711 "$docker_dir"
    export DOCKER_HOST=unix://$docker_dir/socket
    setpriv --pdeathsig SIGTERM /usr/sbin/dockerd --data-root "$docker_dir/data" --exec-root "$docker_dir/exec" -H "$DOCKER_HOST" \
        --group "$(id -gn "$user")" --pidfile "$docker_dir/pid" --iptables=false --bridge=none --ip-forward=false \
        --storage-driver overlay2 > "$docker_dir/log" 2>&1 &
    docker_pid=$!
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        /usr/bin/docker version > /dev/null 2>&1 && return
        kill -0 "$docker_pid" 2>/dev/null || break
        sleep 0.2
    done
    echo "# (Docker's daemon could not be started: nothing is compared with BuildKit. Its last words: $(tail -n 1 "$docker_dir/log"))"
    stop_docker
    return 1
}

# stop_docker: ends the daemon that start_docker started, if it did, and removes what it kept.
stop_docker() {
    [ -n "${docker_pid:-}" ] || return 0
    kill "$docker_pid" 2>/dev/null || true
    wait "$docker_pid" 2>/dev/null || true
    docker_pid=
    remove_docker_dir "$docker_dir"
}

# remove_docker_dir DIR: what a daemon kept that has ended, and what one that was killed in the middle of a step left mounted.
remove_docker_dir() {
    awk -v below="$1/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l || true
    rm -rf "$1" || true
}

# forget_tests: what test programs that have ended left; those that run keep theirs.
forget_tests() {
    local dir
    for dir in /var/tmp/coracle-tests-*; do
        [ ! -d "$dir" ] || [ -d "/proc/${dir##*-}" ] || rm -rf "$dir"
    done
}

# build PROFILE: the binary, put where the unprivileged user can reach it: $work/bin/coracle.
build() {
    local profile=$1 dir=$1
    [ "$profile" != dev ] || dir=debug
    command -v cargo >/dev/null || die "cargo is not in PATH" "install a Rust toolchain first"
    (cd "$top" && cargo build --quiet --locked --profile "$profile")
    install -d -m 0755 "$work/bin"
    install -m 755 "${CARGO_TARGET_DIR:-$top/target}/$dir/coracle" "$work/bin/coracle.part"
    mv "$work/bin/coracle.part" "$work/bin/coracle"
}
