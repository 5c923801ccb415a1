#!/bin/sh
# Regenerates the query metadata (.sqlx) with which a build needs no database: starts a private Postgres, applies the
# migrations, and compiles the crate against it. Needs the PostgreSQL programs and psql; run it after changing a query.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
programs=${POSTGRES_DIR:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
[ -n "$programs" ] || programs=$(dirname "$(readlink -f "$(command -v initdb)")")
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

# Made aside, so that a build which runs meanwhile finds the old metadata, never half of the new.
mkdir "$work/sqlx"
chmod 755 "$work/sqlx"
touch "$root/knowledge/src/lib.rs"
cd "$root"
SQLX_OFFLINE=false DATABASE_URL="postgres:///prepare?host=$work&user=prepare" SQLX_OFFLINE_DIR="$work/sqlx" cargo check -p knowledge --all-targets
echo "$(ls "$work/sqlx" | wc -l) queries"

# With --check nothing is written: what is committed must fit the migrations and the queries.
if [ "${1:-}" = --check ]; then
    if ! diff -rq "$root/.sqlx" "$work/sqlx" >&2; then
        echo "prepare.sh: .sqlx is not up to date; run knowledge/prepare.sh and commit it" >&2
        exit 1
    fi
else
    mkdir -p "$root/.sqlx"
    for old in "$root"/.sqlx/*; do
        [ -e "$work/sqlx/$(basename "$old")" ] || rm -f "$old"
    done
    cp "$work"/sqlx/* "$root/.sqlx/"
fi
