#!/usr/bin/env bash
# Set-up: QGIS, the engine's environment, the environment of the QGIS-side tests. Quick when there is nothing to do.
# Usage: scripts/setup.sh [qgis] [engine] [qgis-tests]
set -euo pipefail
cd "$(dirname "$0")/.."

log=build/setup.log
mkdir -p build
unset PROJ_LIB PROJ_DATA GDAL_DATA PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive
# QGIS runs in the system's own Python; one from elsewhere that comes first on PATH would not find it.
python=/usr/bin/python3
torch_index=https://download.pytorch.org/whl/cpu

say() { printf '%-22s %s\n' "$1:" "$2"; }
fail() { printf 'Set-up stopped: %s\n' "$*" >&2; exit 1; }

# A step that takes a while: its output goes to the log, its failure is explained.
quietly() {
    local hint=$1
    shift
    printf '\n$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null && return
    printf '\nLast lines of %s:\n' "$log" >&2
    tail -n 8 "$log" | cut -c1-300 >&2
    if tail -n 60 "$log" | grep -qi 'no space left'; then hint='the disk is full. Free some space and run again.'
    elif tail -n 60 "$log" | grep -q 'triton'; then
        hint="PyTorch's CPU build is not to be had from $torch_index; the one from elsewhere would bring gigabytes of CUDA. Check network and proxy."
    fi
    fail "$hint"
}

qgis_version() { QT_QPA_PLATFORM=offscreen qgis_process --version 2>/dev/null | sed -n 's/^QGIS \([0-9.]*\).*/\1/p' | head -n 1; }

# Names what is missing, one a line, given the version that answers; nothing where all is there.
missing_for_qgis() {
    local name version=$1
    for name in qgis_process qgis xvfb-run xauth gdalinfo; do command -v "$name" >/dev/null || echo "$name"; done
    "$python" -c 'import qgis.core' 2>/dev/null || echo "QGIS's Python in $python"
    "$python" -c 'import venv, ensurepip' 2>/dev/null || echo "venv in $python"
    command -v qgis_process >/dev/null || return 0
    [ "$(printf '3.40\n%s\n' "${version:-0}" | sort -V | head -n 1)" = 3.40 ] || echo "QGIS 3.40 or newer (here: ${version:-none that answers})"
}

# The mirror that this machine has Debian from: it may be the only one that it can reach.
debian_mirror() {
    local found
    # shellcheck disable=SC2016
    found=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 ~ "^https?://.*/debian/?$" && $2 == "bookworm" && $3 == "main" { sub("/$", "", $1); print $1; exit }' || true)
    echo "${found:-http://deb.debian.org/debian}"
}

setup_qgis() {
    local version missing
    version=$(qgis_version || true)
    missing=$(missing_for_qgis "$version")
    if [ -z "$missing" ]; then say 'QGIS' "up to date ($version)"; return; fi
    say 'QGIS' "missing: ${missing//$'\n'/, }"
    local packages='qgis python3-qgis' others='python3-venv gdal-bin xvfb xauth fonts-open-sans'
    local needs="QGIS 3.40 or newer with its Python ($packages), and $others"
    [ -r /etc/os-release ] || fail "this system is not known. Install by hand: $needs."
    # shellcheck disable=SC1091
    . /etc/os-release
    if [ "${ID:-}" != debian ] || [ "${VERSION_CODENAME:-}" != bookworm ]; then
        fail "this is ${PRETTY_NAME:-another system}, and only Debian 12 is set up by itself. Install by hand: $needs. Then run again."
    fi
    local root=() mirror
    mirror=$(debian_mirror)
    if [ "$(id -u)" != 0 ]; then
        if sudo -n true 2>/dev/null; then root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
        else
            cat >&2 <<HELP
Installing it needs root. Ask for these commands to be run as root, then run again:
    echo 'deb $mirror bookworm-backports main' > /etc/apt/sources.list.d/bookworm-backports.list
    apt-get update
    apt-get install -y --no-install-recommends -t bookworm-backports $packages
    apt-get install -y --no-install-recommends $others
HELP
            exit 1
        fi
    fi
    say 'QGIS' 'installing 3.40 from bookworm-backports, about two minutes and 2.1 GB'
    if ! grep -rqsE '^[^#]*bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d; then
        printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' "$mirror" \
            /usr/share/keyrings/debian-archive-keyring.gpg |
            "${root[@]}" tee /etc/apt/sources.list.d/bookworm-backports.sources >/dev/null
    fi
    local network="Debian's packages cannot be fetched. Check the network, or install by hand: $needs."
    quietly "$network" "${root[@]}" apt-get update
    # shellcheck disable=SC2086
    quietly "$network" "${root[@]}" apt-get install -y --no-install-recommends -t bookworm-backports $packages
    # shellcheck disable=SC2086
    quietly "$network" "${root[@]}" apt-get install -y --no-install-recommends $others
    version=$(qgis_version || true)
    missing=$(missing_for_qgis "$version")
    [ -z "$missing" ] || fail "packages were installed, and still missing: ${missing//$'\n'/, }. $log has the details."
    say 'QGIS' "installed ($version)"
}

# environment NAME FOLDER STAMP-SOURCES… : true where FOLDER was made from just these files.
stamp_of() { cat "$@" | sha256sum | cut -c1-16; }
is_ready() { [ -e "$1/ready-$2" ] && "$1/bin/python" -c '' 2>/dev/null; }

setup_engine() {
    local stamp network="Python packages cannot be fetched. Check the network or the proxy; $log has the details."
    stamp=$(stamp_of requirements/engine.txt requirements/dev.txt requirements/cpu-only.txt)
    if is_ready .venv "$stamp"; then say 'engine environment' 'up to date'; return; fi
    say 'engine environment' 'making .venv (PyTorch for the CPU, rasterio and others), some minutes'
    rm -rf .venv
    quietly "$python cannot make a virtual environment. Install python3-venv." "$python" -m venv .venv
    quietly "$network" .venv/bin/python -m pip install --retries 1 --timeout 30 --extra-index-url "$torch_index" \
        -c requirements/cpu-only.txt "$(grep '^torch==' requirements/engine.txt)"
    quietly "$network" .venv/bin/python -m pip install -c requirements/cpu-only.txt -r requirements/engine.txt -r requirements/dev.txt
    touch ".venv/ready-$stamp"
    say 'engine environment' 'ready'
}

setup_qgis_tests() {
    local stamp network="Python packages cannot be fetched. Check the network or the proxy; $log has the details."
    stamp=$(stamp_of requirements/qgis-tests.txt)
    if is_ready .venv-qgis "$stamp"; then say 'QGIS test environment' 'up to date'; return; fi
    say 'QGIS test environment' 'making .venv-qgis'
    rm -rf .venv-qgis
    quietly "$python cannot make a virtual environment. Install python3-venv." "$python" -m venv --system-site-packages .venv-qgis
    quietly "$network" .venv-qgis/bin/python -m pip install -r requirements/qgis-tests.txt
    touch ".venv-qgis/ready-$stamp"
    say 'QGIS test environment' 'ready'
}

for part in "${@:-qgis}"; do
    case $part in
        qgis) setup_qgis ;;
        engine) setup_engine ;;
        qgis-tests) setup_qgis_tests ;;
        *) fail "no such part: $part" ;;
    esac
done
