# Shared by scripts/demo, scripts/test and scripts/bench: packages, build, plain words. Sourced, not run.
# Needs bash and Debian 12; installs the rest. shellcheck shell=bash

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need_root() {
  [ "$(id -u)" = 0 ] || die "network namespaces need root: run it as root, or with sudo"
}

# Installs the packages of packaging/packages.txt that are missing; nothing, and no network, when all are there.
install_packages() {
  local -a wanted missing=()
  mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$top/packaging/packages.txt")
  local installed
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
  local package
  for package in "${wanted[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    say "all ${#wanted[@]} Debian packages are installed"
    return
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  apt_install "${missing[@]}"
}

# In a subshell, so that its traps undo what it did to the machine however it ends.
apt_install() (
  log=$(mktemp)
  policy=/usr/sbin/policy-rc.d
  trap 'rm -f "$log" ${made_policy:+"$policy"}' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  # The routers and runtimes are wanted as programs for the tests, not as services of this machine: their start is refused while
  # they are installed, and they are disabled for the next boot.
  if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    die "apt-get could not install the packages (its last lines are above)"
  fi
  if command -v systemctl >/dev/null; then
    local pair
    for pair in bird2:bird frr:frr gobgpd:gobgpd containerd:containerd; do
      case " $* " in *" ${pair%:*} "*) systemctl disable -q "${pair#*:}" 2>/dev/null || true ;; esac
    done
  fi
)

# build PRESET [TARGET...]: configures once, builds with every core, shows the compiler's words only when it fails.
build() {
  local preset=$1
  shift
  local log="$top/build/$preset.log"
  mkdir -p "$top/build"
  say "building ($preset) with $(nproc) jobs"
  if ! { (cd "$top" && cmake --preset "$preset") && cmake --build "$top/build/$preset" -j "$(nproc)" ${1:+--target "$@"}; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "the build failed (the whole log is build/$preset.log)"
  fi
}
