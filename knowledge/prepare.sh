#!/bin/sh
# Regenerates the query metadata (.sqlx) with which a build needs no database: starts a private Postgres, applies the
# migrations, and compiles the crate against it. Needs the PostgreSQL programs and psql; run it after changing a query.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
programs=${POSTGRES_DIR:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
work=$(mktemp -d)
chmod 755 "$work"

# Postgres refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    chown postgres "$work"
    as() { su postgres -s /bin/sh -c "$*"; }
else
    as() { sh -c "$*"; }
fi
finish() {
    as "'$programs/pg_ctl' -D '$work/data' -m immediate stop" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

as "'$programs/initdb' -D '$work/data' -A trust -U prepare -E UTF8" >/dev/null
as "'$programs/pg_ctl' -D '$work/data' -w -l '$work/log' -o \"-c listen_addresses='' -c fsync=off -k '$work'\" start" >/dev/null
"$programs/psql" -q -h "$work" -U prepare -d postgres -c 'create database prepare'
for migration in "$root"/migrations/*.sql; do
    "$programs/psql" -q -v ON_ERROR_STOP=1 -h "$work" -U prepare -d prepare -f "$migration"
done

rm -rf "$root/.sqlx"
mkdir "$root/.sqlx"
touch "$root/knowledge/src/lib.rs"
cd "$root"
SQLX_OFFLINE=false DATABASE_URL="postgres:///prepare?host=$work&user=prepare" SQLX_OFFLINE_DIR="$root/.sqlx" cargo check -p knowledge --all-targets
echo "$(ls "$root/.sqlx" | wc -l) queries in .sqlx"

# With --check nothing may have changed: what is committed fits the migrations and the queries.
if [ "${1:-}" = --check ] && [ -n "$(git -C "$root" status --porcelain .sqlx)" ]; then
    git -C "$root" status --short .sqlx >&2
    echo "prepare.sh: .sqlx is not up to date; run knowledge/prepare.sh and commit it" >&2
    exit 1
fi
