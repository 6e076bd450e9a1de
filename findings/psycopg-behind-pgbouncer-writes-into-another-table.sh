#!/usr/bin/env bash
# psycopg 3.3.9 behind PgBouncer 1.18.0 (Debian 12, pool_mode = transaction) writes a row into the
# table of another connection's statement, and reports success.
#
# Expected: a prepared statement that the server's connection does not know, or knows as another
# one's, is an error; names of statements differ between clients, or PgBouncer keeps them apart.
# Seen: the first prepared statement of every connection is _pg3_0, and stays with the connection of
# the server, which the pooler gives to the next client. INSERT INTO first ends up in second.
#
# Needs Debian's packages postgresql and pgbouncer. Both listen on sockets in a temporary folder
# alone; as they do not run as root, root runs them as the user postgres.
set -euo pipefail
PATH=$PATH:/usr/sbin
bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -n 1)
if [ -z "$bin" ] || ! command -v pgbouncer > /dev/null; then
    echo "there is no PostgreSQL or no PgBouncer: apt-get install postgresql pgbouncer" >&2
    exit 1
fi
pgbouncer --version | head -n 1
as_server() { "$@"; }
[ "$(id -u)" != 0 ] || as_server() { runuser -u postgres -- "$@"; }
folder=$(mktemp -d)
chmod 755 "$folder"
end() {
    [ ! -f "$folder/run/pid" ] || kill -QUIT "$(cat "$folder/run/pid")" || true
    as_server "$bin/pg_ctl" --pgdata "$folder/run/data" --mode immediate --silent stop || true
    rm -rf "$folder"
}
trap end EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'

mkdir "$folder/run"
cat > "$folder/run/settings" << PGBOUNCER
[databases]
postgres = host=$folder/run
[pgbouncer]
listen_addr =
unix_socket_dir = $folder/run
auth_type = any
pool_mode = transaction
logfile = $folder/run/log
pidfile = $folder/run/pid
PGBOUNCER
sed -i "s/^postgres = .*/& user=postgres/" "$folder/run/settings"
[ "$(id -u)" != 0 ] || chown -R postgres: "$folder/run"
as_server "$bin/initdb" --pgdata "$folder/run/data" --username postgres --no-sync --auth trust \
    > "$folder/initdb"
as_server "$bin/pg_ctl" --pgdata "$folder/run/data" --log "$folder/run/server" --wait --silent \
    --options "-c listen_addresses= -c unix_socket_directories='$folder/run' -c fsync=off" start
as_server pgbouncer --daemon --quiet "$folder/run/settings"
until [ -S "$folder/run/.s.PGSQL.6432" ]; do sleep 0.05; done

cat > "$folder/look.py" << 'PYTHON'
import sys

import psycopg

url = f"host={sys.argv[1]}/run port=6432 dbname=postgres user=postgres"
with psycopg.connect(url) as one, psycopg.connect(url) as other:
    one.execute("CREATE TABLE first (n int)")
    one.execute("CREATE TABLE second (n int)")
    one.commit()
    # Both are in a transaction, each on a connection of its own to the server.
    one.execute("INSERT INTO first VALUES (%s)", [1], prepare=True)
    other.execute("INSERT INTO second VALUES (%s)", [2], prepare=True)
    one.commit()
    other.commit()  # its connection to the server is the next that is used
    print(one.execute("INSERT INTO first VALUES (%s)", [3], prepare=True).statusmessage)
    one.commit()
    tables = {
        name: [n for (n,) in one.execute(f"SELECT n FROM {name} ORDER BY n", prepare=False)]
        for name in ("first", "second")
    }
print(tables)
assert tables == {"first": [1], "second": [2, 3]}, "psycopg or PgBouncer has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
