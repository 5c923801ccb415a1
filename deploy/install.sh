#!/bin/sh
# Installs what Homeostat needs on Debian: PostgreSQL's programs, a C compiler for the TLS library, and Python for one test.
set -eu
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if ! command -v apt-get >/dev/null; then
    echo "install.sh: this machine has no apt-get; install PostgreSQL 13 or newer, a C compiler and python3-venv yourself" >&2
    exit 1
fi
as_root apt-get update -qq
# Debian would start a server of its own; ours is private, so no other is wanted.
as_root mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql gcc libc6-dev make python3-venv
