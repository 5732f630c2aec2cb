"""Databases of runbooks: what holds on SQLite holds on PostgreSQL."""

from __future__ import annotations

import asyncio
import ipaddress
import sqlite3
import time

import psycopg
import pytest
from integration.postgres_server import run_postgres
from sqlalchemy import make_url

from executor.errors import Forbidden, Invalid, MissingSecret, NotConfigured, NotDone, StepFailed, Unavailable
from services.outgoing.databases import pinned
from services.outgoing.network import Refused
from services.outgoing.rules import Rules, rules_of
from services.sql import Database, SqlDatabases

TABLE = "CREATE TABLE jobs (id integer PRIMARY KEY, queue text, locked boolean)"
HERE = rules_of(["127.0.0.1"])
"""The servers of the tests are on this machine, which needs an exception."""
SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n",
    "postgresql": "SELECT pg_sleep(30)",
}


class Db:
    """A database with nine jobs, through the adapter and past it."""

    def __init__(self, kind, url, run, rules=HERE):
        self.kind, self.url, self.run = kind, url, run
        databases = {"shop": Database("shop_url", write=True), "log": Database("shop_url")}
        self.sql = SqlDatabases(databases, self._secret, rules)

    async def _secret(self, name):
        if name != "shop_url":
            raise MissingSecret(name)
        return self.url

    async def read(self, statement, connection="shop", max_rows=100, seconds=5, **parameters):
        return await self.sql.read(connection, statement, parameters, max_rows=max_rows, timeout_seconds=seconds)

    async def write(self, statement, connection="shop", max_rows=100, seconds=5, **parameters):
        return await self.sql.write(connection, statement, parameters, max_rows=max_rows, timeout_seconds=seconds)

    def count(self):
        return self.run("SELECT count(*) FROM jobs")[0][0]


@pytest.fixture(scope="module")
def postgres():
    with run_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.stack)])
def db(request, tmp_path):
    if request.param == "sqlite":
        path = tmp_path / "shop.db"
        url = f"sqlite:///{path}"

        def run(statement):
            with sqlite3.connect(path) as raw:
                return raw.execute(statement).fetchall()

    else:
        url = request.getfixturevalue("postgres")

        def run(statement):
            with psycopg.connect(url, autocommit=True) as raw:
                got = raw.execute(statement)
                return got.fetchall() if got.description else []

    run("DROP TABLE IF EXISTS jobs")
    run(TABLE)
    for number in range(1, 10):
        run(f"INSERT INTO jobs VALUES ({number}, 'q{number % 3}', {'true' if number > 5 else 'false'})")  # noqa: S608 - numbers of our own
    return Db(request.param, url, run)


async def test_rows_come_as_data_by_column(db):
    """With their own types, in the order asked for."""
    answer = await db.read("SELECT id, queue FROM jobs WHERE id > :least ORDER BY id", least=7)
    assert [dict(row) for row in answer.rows] == [{"id": 8, "queue": "q2"}, {"id": 9, "queue": "q0"}]
    assert not answer.more


async def test_no_rows_are_no_rows(db):
    """An empty answer is an answer."""
    assert (await db.read("SELECT id FROM jobs WHERE id > 100")).rows == []


@pytest.mark.parametrize("text", ["q1' OR '1'='1", "q1; DROP TABLE jobs", "':queue", "%s", "q%(x)s"])
async def test_values_are_bound_and_never_text(db, text):
    """What looks like SQL in a value is only a value."""
    answer = await db.read("SELECT count(*) AS n FROM jobs WHERE queue = :queue", queue=text)
    assert answer.rows[0]["n"] == 0
    assert db.count() == 9


async def test_more_rows_than_asked_for_are_left_out_and_said(db):
    """Nobody mistakes a part for the whole."""
    answer = await db.read("SELECT id FROM jobs ORDER BY id", max_rows=4)
    assert [row["id"] for row in answer.rows] == [1, 2, 3, 4]
    assert answer.more
    assert not (await db.read("SELECT id FROM jobs ORDER BY id", max_rows=9)).more


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM jobs",
        "UPDATE jobs SET locked = true",
        "INSERT INTO jobs VALUES (99, 'x', false)",
        "CREATE TABLE other (id integer)",
        "DROP TABLE jobs",
        "SELECT 1; DELETE FROM jobs",
        "SELECT 1; COMMIT; DELETE FROM jobs",
        "COMMIT; DELETE FROM jobs",
        "WITH gone AS (SELECT 1) DELETE FROM jobs",
    ],
)
async def test_a_read_cannot_write(db, statement):
    """The database refuses it, whatever the text looks like, on a connection that may write otherwise."""
    with pytest.raises(Invalid):
        await db.read(statement)
    assert db.count() == 9
    assert db.run("SELECT count(*) FROM jobs WHERE locked = true")[0][0] == 4


@pytest.mark.stack
@pytest.mark.parametrize(
    "statement",
    [
        "SET TRANSACTION READ WRITE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "WITH gone AS (DELETE FROM jobs RETURNING id) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM jobs",
        "SELECT nextval('numbers')",
        "DO $$ BEGIN DELETE FROM jobs; END $$",
    ],
)
async def test_postgresql_cannot_be_talked_out_of_reading(postgres, statement):
    """Settings, common table expressions, functions and blocks are no way around, and none lasts."""
    with psycopg.connect(postgres, autocommit=True) as raw:
        raw.execute("DROP TABLE IF EXISTS jobs")
        raw.execute(TABLE)
        raw.execute("INSERT INTO jobs VALUES (1, 'q', false)")
        raw.execute("CREATE SEQUENCE IF NOT EXISTS numbers")
    db = Db("postgresql", postgres, lambda _: None)
    with pytest.raises(Invalid):
        await db.read(statement)
    with pytest.raises(Invalid):
        await db.read("DELETE FROM jobs")
    assert (await db.read("SELECT count(*) AS n FROM jobs")).rows[0]["n"] == 1


@pytest.mark.parametrize("statement", ["PRAGMA query_only = OFF", "ATTACH DATABASE '/tmp/other.db' AS other"])
async def test_sqlite_opens_nothing_else_and_changes_no_setting(tmp_path, statement):
    """A statement cannot reach other files."""
    (tmp_path / "a.db").touch()
    db = Db("sqlite", f"sqlite:///{tmp_path / 'a.db'}", None)
    with pytest.raises(Invalid, match="not authorized"):
        await db.read(statement)
    with pytest.raises(NotDone, match="not authorized"):
        await db.write(statement)


async def test_a_write_is_committed_and_counted(db):
    """It says how many rows it touched."""
    answer = await db.write("UPDATE jobs SET locked = :locked WHERE queue = :queue", locked=False, queue="q0")
    assert answer.changed == 3
    assert db.run("SELECT count(*) FROM jobs WHERE locked = true")[0][0] == 2


async def test_a_write_that_touches_too_much_is_taken_back(db):
    """A forgotten WHERE changes nothing."""
    with pytest.raises(NotDone, match="touches 9 rows, and at most 2"):
        await db.write("DELETE FROM jobs", max_rows=2)
    assert db.count() == 9


@pytest.mark.parametrize("statement", ["UPDATE jobs SET locked = true; DELETE FROM jobs", "DELETE FROM jobs; SELECT 1"])
async def test_a_write_is_one_statement(db, statement):
    """Its rows could not be counted otherwise."""
    with pytest.raises(NotDone):
        await db.write(statement)
    assert db.count() == 9
    assert db.run("SELECT count(*) FROM jobs WHERE locked = true")[0][0] == 4


async def test_a_failed_write_says_that_nothing_was_changed(db):
    """Nobody has to look."""
    with pytest.raises(NotDone, match="nothing was changed"):
        await db.write("UPDATE nowhere SET id = 1")


async def test_a_connection_for_reading_is_not_written_to(db):
    """The settings decide, not the runbook."""
    assert (await db.read("SELECT 1 AS one", connection="log")).rows == [{"one": 1}]
    with pytest.raises(Forbidden, match=r"sql\.connections\.log\.write"):
        await db.write("DELETE FROM jobs", connection="log")
    assert db.count() == 9


async def test_an_unknown_connection_names_the_nearest(db):
    """A slip of the finger is answered with what was meant."""
    with pytest.raises(NotConfigured, match="did you mean shop"):
        await db.read("SELECT 1", connection="shpo")


@pytest.mark.parametrize("statement", ["SELECT nothing FROM jobs", "SELEC 1", "SELECT :missing"])
async def test_a_wrong_statement_is_refused_in_a_line(db, statement):
    """The reason is the database's; neither statement nor values are quoted back."""
    with pytest.raises(Invalid) as error:
        await db.read(statement)
    assert "\n" not in str(error.value)
    assert "[SQL" not in str(error.value)


async def test_a_slow_statement_is_ended_in_time(db):
    """The database itself gives up."""
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"not done within 0\.5 s"):
        await db.read(SLOW[db.kind], seconds=0.5)
    assert time.monotonic() - began < 4


async def test_a_cancelled_statement_ends_soon(db):
    """Nothing goes on behind the back of a step that was stopped."""
    work = asyncio.create_task(db.read(SLOW[db.kind], seconds=3))
    await asyncio.sleep(0.4)
    work.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert time.monotonic() - began < 5
    if db.kind == "postgresql":
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(30)%'"
        assert db.run(f"{running} AND pid <> pg_backend_pid()")[0][0] == 0


async def test_rows_that_are_too_large_are_refused(db):
    """A step's output is bounded."""
    wide = (
        "SELECT printf('%.300000d', 0) AS x FROM jobs"
        if db.kind == "sqlite"
        else "SELECT repeat('x', 300000) FROM jobs"
    )
    with pytest.raises(StepFailed, match="larger than"):
        await db.read(wide)


@pytest.mark.stack
async def test_every_common_type_of_postgresql_becomes_json(postgres):
    """Times as text, decimals as numbers, bytes as hex."""
    db = Db("postgresql", postgres, None)
    answer = await db.read(
        "SELECT 1.5::numeric AS d, 3::numeric AS i, timestamptz '2026-01-02 03:04:05+00' AS t, interval '90 s' AS v,"
        " '\\x0aff'::bytea AS b, '{\"a\": [1]}'::jsonb AS j, ARRAY[1, 2] AS l, NULL AS n, true AS y,"
        " '00000000-0000-0000-0000-000000000001'::uuid AS u"
    )
    row = dict(answer.rows[0])
    assert row.pop("t").startswith("2026-01-02T")
    assert row == {
        "d": 1.5, "i": 3, "v": 90.0, "b": "0aff", "j": {"a": [1]}, "l": [1, 2], "n": None, "y": True,
        "u": "00000000-0000-0000-0000-000000000001",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://root:hunter2@db/x", "mysql cannot be held"), ("not a url hunter2", "no database URL")],
)
async def test_a_url_that_cannot_be_used_is_said_without_its_secret(url, said):
    """The URL is a secret itself."""
    with pytest.raises(NotConfigured, match=said) as error:
        await Db("x", url, None).read("SELECT 1")
    assert "hunter2" not in str(error.value)


async def test_a_server_that_is_away_is_said_without_its_password():
    """Worth another try later."""
    db = Db("postgresql", "postgresql://rootmend:hunter2@127.0.0.1:1/x", None)
    with pytest.raises(Unavailable) as error:
        await db.read("SELECT 1")
    assert "hunter2" not in str(error.value)
    with pytest.raises(NotDone, match="nothing was changed"):
        await db.write("DELETE FROM jobs")


@pytest.mark.stack
async def test_a_database_on_this_machine_needs_an_exception(postgres):
    """A secret that leads to a database beside the pipeline was not meant by whoever wrote the runbook."""
    guarded = Db("postgresql", postgres, None, Rules())
    with pytest.raises(Refused, match=r"loopback address; outgoing\.allow"):
        await guarded.read("SELECT 1")
    with pytest.raises(NotDone, match="nothing was changed: not called"):
        await guarded.write("CREATE TABLE never (id integer)")
    by_name = Db("postgresql", postgres.replace("127.0.0.1", "localhost"), None, Rules())
    with pytest.raises(Refused, match="localhost is at"):
        await by_name.read("SELECT 1")
    with psycopg.connect(postgres) as raw:
        assert raw.execute("SELECT to_regclass('never')").fetchone() == (None,)


@pytest.mark.stack
async def test_a_database_is_connected_to_at_the_address_that_was_checked(postgres):
    """The driver does not resolve the name a second time: this one leads nowhere for anybody but the check."""
    asked = []

    async def resolver(host, port):
        asked.append((host, port))
        return (ipaddress.ip_address("203.0.113.7"),) if len(asked) > 1 else (ipaddress.ip_address("127.0.0.1"),)

    url = make_url(postgres.replace("127.0.0.1", "db.shop.invalid").replace("postgresql:", "postgresql+psycopg:"))
    given = await pinned("shop", url, HERE, resolver)
    assert given == {"host": "db.shop.invalid", "hostaddr": "127.0.0.1", "port": str(url.port)}
    connecting = psycopg.AsyncConnection.connect(user="rootmend", dbname="postgres", **given)
    async with await connecting as raw:
        assert await (await raw.execute("SELECT 1")).fetchone() == (1,)
    assert asked == [("db.shop.invalid", url.port)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hunter2@db.example.com/x?hostaddr=127.0.0.1", "option hostaddr"),
        ("postgresql://u:hunter2@db.example.com/x?service=other", "option service"),
        ("postgresql://u:hunter2@/x?host=/var/run/postgresql", "socket of this machine"),
        ("postgresql://u:hunter2@/x", "names no host"),
        ("postgresql://u:hunter2@/x?host=10.0.0.1:5432&host=127.0.0.1:5432", "127.0.0.1 is a loopback address"),
        ("postgresql://u:hunter2@169.254.169.254/x", "metadata service"),
        ("postgresql://u:hunter2@2130706433/x", "unusual way"),
    ],
)
async def test_a_database_url_leads_past_the_rules_in_no_way(url, said):
    """Options of the driver, sockets, further hosts and spellings are all looked at."""
    with pytest.raises((Refused, NotConfigured), match=said) as error:
        await Db("postgresql", url, None, Rules()).read("SELECT 1")
    assert "hunter2" not in str(error.value)
