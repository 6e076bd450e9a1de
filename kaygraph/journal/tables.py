"""The tables of a journal in PostgreSQL, and the statements that use them.

Every statement is its own transaction, so that it works behind a pooler in any of its modes. A row
of a log is written by its number: a number that exists is not written again. Every writer locks the
run's row in ``kaygraph_runs`` first, and compares the epoch under that lock.

Users' texts are bytea, because a database does not accept every text.
"""

VERSION = 1

# Two processes may start at the same moment: IF NOT EXISTS alone does not protect from that.
MAKE = f"""
SELECT pg_advisory_xact_lock(7738708101697107815);
CREATE TABLE IF NOT EXISTS kaygraph_journal (version bigint NOT NULL);
CREATE SEQUENCE IF NOT EXISTS kaygraph_epochs;
CREATE TABLE IF NOT EXISTS kaygraph_runs (
    run text COLLATE "C" PRIMARY KEY,
    made bigint GENERATED ALWAYS AS IDENTITY,
    graph bytea NOT NULL,
    status text NOT NULL,
    created double precision NOT NULL,
    updated double precision NOT NULL,
    epoch bigint NOT NULL,
    action bytea,
    error bytea,
    first bigint NOT NULL,
    input bytea,
    seed bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS kaygraph_rows (
    run text COLLATE "C" NOT NULL REFERENCES kaygraph_runs ON DELETE CASCADE,
    number bigint NOT NULL,
    at double precision NOT NULL,
    checksum bytea NOT NULL,
    blob bytea NOT NULL,
    PRIMARY KEY (run, number)
);
CREATE TABLE IF NOT EXISTS kaygraph_answers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run text COLLATE "C" NOT NULL REFERENCES kaygraph_runs ON DELETE CASCADE,
    name bytea NOT NULL,
    data bytea NOT NULL,
    at double precision NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS kaygraph_answers_name ON kaygraph_answers (run, sha256(name));
CREATE TABLE IF NOT EXISTS kaygraph_cache (
    key bytea PRIMARY KEY,
    data bytea NOT NULL,
    expires double precision NOT NULL
);
INSERT INTO kaygraph_journal (version)
    SELECT {VERSION} WHERE NOT EXISTS (SELECT FROM kaygraph_journal);
"""
IS_MADE = "SELECT to_regclass('kaygraph_journal') IS NOT NULL"
SYNCHRONOUS = "SELECT current_setting('synchronous_commit')"
READ_VERSION = "SELECT max(version) FROM kaygraph_journal"

# How long to wait for a lock, in this transaction only; set before the first one is taken.
_PATIENCE = "patience AS MATERIALIZED (SELECT set_config('lock_timeout', '10s', true) AS lasts)"

_INFO = """
SELECT runs.run, graph, status, created, GREATEST(updated, last.at), epoch, action, error,
    coalesce(last.number, 0), {input}, seed
FROM kaygraph_runs AS runs LEFT JOIN LATERAL (
    SELECT number, at FROM kaygraph_rows AS logs WHERE logs.run = runs.run
    ORDER BY number DESC LIMIT 1
) AS last ON true
"""
INFO = f"{_INFO.format(input='input')} WHERE runs.run = %s"
EVERY_INFO = f"{_INFO.format(input='NULL')} ORDER BY made DESC"
IDS = "SELECT run FROM kaygraph_runs ORDER BY made DESC"

# (now, run)
CLAIM = f"""
WITH {_PATIENCE}
UPDATE kaygraph_runs SET
    epoch = nextval('kaygraph_epochs'),
    updated = %s,
    status = CASE status WHEN 'done' THEN status ELSE 'running' END,
    action = CASE status WHEN 'done' THEN action END,
    error = CASE status WHEN 'done' THEN error END
FROM patience WHERE patience.lasts <> '' AND run = %s
RETURNING epoch
"""
# (run, graph, now, now, seed)
CLAIM_NEW = """
INSERT INTO kaygraph_runs (run, graph, status, created, updated, epoch, first, seed)
VALUES (%s, %b, 'running', %s, %s, nextval('kaygraph_epochs'), 1, %b)
ON CONFLICT DO NOTHING RETURNING epoch
"""

APPEND = f"""
WITH {_PATIENCE}, owner AS MATERIALIZED (
    SELECT run, first FROM kaygraph_runs, patience
    WHERE patience.lasts <> '' AND run = %(run)s AND epoch = %(epoch)s
    FOR NO KEY UPDATE OF kaygraph_runs
)
INSERT INTO kaygraph_rows (run, number, at, checksum, blob)
SELECT run, %(number)s, %(at)s, %(checksum)b, %(blob)b FROM owner
WHERE (%(number)s = 1 AND first = 1) OR EXISTS (
    SELECT FROM kaygraph_rows WHERE run = %(run)s AND number = %(number)s::bigint - 1
)
ON CONFLICT DO NOTHING RETURNING number
"""
# (number, run)
WHY_NOT = """
SELECT epoch,
    (SELECT max(number) FROM kaygraph_rows AS logs WHERE logs.run = runs.run),
    (SELECT checksum FROM kaygraph_rows AS logs WHERE logs.run = runs.run AND number = %s)
FROM kaygraph_runs AS runs WHERE run = %s
"""
# Inside another transaction, the log's end is read after the run's row is locked. A single
# statement would read it as it was before waiting for the lock.
LOCK = "SELECT FROM kaygraph_runs WHERE run = %s AND epoch = %s FOR NO KEY UPDATE"
LAST = "SELECT coalesce(max(number), 0) FROM kaygraph_rows WHERE run = %s"
# (run, seed, epoch): in an older copy of the database, the epoch is lower.
IS_HERE = """
SELECT FROM kaygraph_runs WHERE run = %s AND seed = %b AND epoch >= %s FOR NO KEY UPDATE
"""
LOCK_ANY = "SELECT FROM kaygraph_runs WHERE run = %s FOR NO KEY UPDATE"
# (blob, run, number)
HOLDS = "SELECT blob = %b FROM kaygraph_rows WHERE run = %s AND number = %s"
FIRST = "SELECT first FROM kaygraph_runs WHERE run = %s"
# (run, number, number of rows)
ROWS = """
SELECT number, at, checksum, blob FROM kaygraph_rows WHERE run = %s AND number > %s
ORDER BY number LIMIT %s
"""

# (status, action, error, now, run, epoch)
FINISH = f"""
WITH {_PATIENCE}
UPDATE kaygraph_runs SET status = %s, action = %b, error = %b, updated = %s
FROM patience WHERE patience.lasts <> '' AND run = %s AND epoch = %s
RETURNING epoch
"""
# (input, now, run, epoch)
SET_INPUT = f"""
WITH {_PATIENCE}
UPDATE kaygraph_runs SET input = %b, updated = %s
FROM patience WHERE patience.lasts <> '' AND run = %s AND epoch = %s
RETURNING epoch
"""

CHANNEL = "kaygraph_answers"  # a notification contains the hash of the answered run
ANSWER = f"""
WITH {_PATIENCE}, answered AS (
    INSERT INTO kaygraph_answers (run, name, data, at)
    SELECT run, %(name)b, %(data)b, %(at)s FROM kaygraph_runs, patience
    WHERE patience.lasts <> '' AND run = %(run)s
    ON CONFLICT DO NOTHING RETURNING run
)
UPDATE kaygraph_runs AS runs SET updated = %(at)s FROM answered WHERE runs.run = answered.run
RETURNING pg_notify('{CHANNEL}', md5(runs.run))::text
"""
ANSWERS = "SELECT name, data, at FROM kaygraph_answers WHERE run = %s ORDER BY id"
COUNT_ANSWERS = "SELECT count(*) FROM kaygraph_answers WHERE run = %s"

BEGIN_COPY = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '10s'"
# (new, now, now, run)
COPY_RUN = """
INSERT INTO kaygraph_runs (run, graph, status, created, updated, epoch, first, input, seed)
SELECT %s, graph, 'interrupted', %s, %s, 0, first, input, seed FROM kaygraph_runs WHERE run = %s
ON CONFLICT DO NOTHING RETURNING first
"""
PUT = """
INSERT INTO kaygraph_rows (run, number, at, checksum, blob) VALUES (%s, %s, %s, %b, %b)
"""
# (new, run, until)
COPY_ANSWERS = """
INSERT INTO kaygraph_answers (run, name, data, at)
SELECT %s, name, data, at FROM kaygraph_answers WHERE run = %s AND at <= %s ORDER BY id
"""

FORGET = f"""
WITH {_PATIENCE}, kept AS (
    UPDATE kaygraph_runs SET first = %(before)s, updated = %(now)s
    FROM patience WHERE patience.lasts <> '' AND run = %(run)s AND first <= %(before)s AND EXISTS (
        SELECT FROM kaygraph_rows WHERE run = %(run)s AND number = %(before)s
    )
    RETURNING run
), gone AS (
    DELETE FROM kaygraph_rows AS logs USING kept WHERE logs.run = kept.run AND number < %(before)s
)
SELECT count(*) FROM kept
"""
REMOVE = f"""
WITH {_PATIENCE}
DELETE FROM kaygraph_runs USING patience WHERE patience.lasts <> '' AND run = ANY(%s)
"""
COMPACT = "VACUUM kaygraph_runs, kaygraph_rows, kaygraph_answers, kaygraph_cache"

CACHE_GET = "SELECT key, data, expires FROM kaygraph_cache WHERE key = ANY(%b::bytea[])"
CACHE_SET = """
INSERT INTO kaygraph_cache (key, data, expires)
SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::double precision[])
ON CONFLICT (key) DO UPDATE SET data = excluded.data, expires = excluded.expires
"""
CACHE_PRUNE = "DELETE FROM kaygraph_cache WHERE expires <= %s"
