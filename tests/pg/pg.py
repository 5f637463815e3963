"""A Postgres server of a test's own: unprivileged, on a free loopback port, its
data in a temporary folder, stopped by pid.

    with pg.Postgres() as server:
        subprocess.run([...], env=dict(os.environ, MNEME_PG_URL=server.url()))

The server is started by itself, not by pg_ctl: its pid is our child's, and it
ends when we end, whichever way (setpriv --pdeathsig).
"""

import contextlib
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PATIENCE = 60
TRIES = 5  # ports
ROLE = "mneme"  # owns the database, is no superuser
ADMIN = "postgres"


class Missing(Exception):
    """This machine has no Postgres server."""


def find_programs():
    """The folder of initdb and postgres: MNEME_PG_BIN, PATH, or Debian's newest."""
    named = os.environ.get("MNEME_PG_BIN")
    if named:
        return pathlib.Path(named)
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return pathlib.Path(found).resolve().parent
    debian = pathlib.Path("/usr/lib/postgresql")
    versions = sorted(debian.glob("*/bin/postgres"), key=_version)
    if not versions:
        raise Missing("no Postgres server here: apt-get install postgresql-15")
    return versions[-1].parent


def _version(path):
    match = re.search(r"/(\d+)/bin/", str(path))
    return int(match.group(1)) if match else 0


def _unprivileged():
    """The command before a server's, and who owns its files: postgres refuses to
    be root."""
    command = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0:
        return command, None
    nobody = pwd.getpwnam("nobody")
    command += ["--reuid=%d" % nobody.pw_uid, "--regid=%d" % nobody.pw_gid]
    return command + ["--clear-groups"], nobody


def _free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """One server. settings: of postgresql.conf; fsync is off unless they say
    otherwise: what a crash of the machine leaves is not what tests look at."""

    def __init__(self, settings=None, folder=None):
        self.programs = find_programs()
        self.settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "listen_addresses": "127.0.0.1",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] ",
            "timezone": "UTC",
            "autovacuum_naptime": "5s",
        }
        self.settings.update(settings or {})
        self.folder = pathlib.Path(
            tempfile.mkdtemp(prefix="mneme-pg-", dir=folder)
        )
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.password = secrets.token_hex(12)
        self.process = None
        self.port = None
        self._as, self._owner = _unprivileged()
        self._guard = threading.Lock()
        try:
            self._make()
            self.start()
        except BaseException:
            self.close()
            raise

    # -- making it ------------------------------------------------------------

    def _make(self):
        if self._owner:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        os.chmod(self.folder, 0o755)
        made = subprocess.run(
            self._as
            + [self.programs / "initdb", "-D", self.data, "-U", ADMIN]
            + ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
        )
        if made.returncode:
            raise AssertionError("initdb failed:\n" + made.stdout)
        # The role has a password; the admin comes in without one.
        self._write(
            "pg_hba.conf",
            "local all %s trust\n"
            "host all %s 127.0.0.1/32 trust\n"
            "local all all scram-sha-256\n"
            "host all all 127.0.0.1/32 scram-sha-256\n" % (ADMIN, ADMIN),
        )

    def _write(self, name, text):
        path = self.data / name
        path.write_text(text)
        if self._owner:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def set(self, **settings):
        """Changes settings; they hold from the next start or reload on."""
        self.settings.update(settings)
        lines = ["%s = '%s'\n" % each for each in sorted(self.settings.items())]
        self._write("postgresql.conf", "".join(lines))

    # -- running it -----------------------------------------------------------

    def start(self):
        """Starts it, on the port that it had, if it had one."""
        for left in reversed(range(TRIES)):
            if self.port is None or left < TRIES - 1:
                self.port = _free_port()
            self.set(
                port=str(self.port), unix_socket_directories=str(self.folder)
            )
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    self._as + [self.programs / "postgres", "-D", self.data],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                )
            if self._wait_until_ready():
                break
            if not left or "Address already in use" not in self.output():
                raise AssertionError("no Postgres:\n" + self.output()[-4000:])
        if self.sql("SELECT 1 FROM pg_roles WHERE rolname = '%s'" % ROLE) == "":
            self.sql("CREATE ROLE %s LOGIN PASSWORD '%s'" % (ROLE, self.password))
            self.sql("CREATE DATABASE %s OWNER %s" % (ROLE, ROLE))

    def _wait_until_ready(self):
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            asked = subprocess.run(
                [self.programs / "pg_isready", "-q", "-h", "127.0.0.1"]
                + ["-p", str(self.port), "-t", "1"],
            )
            if asked.returncode == 0:
                return True
            assert time.monotonic() < end, "Postgres does not get ready"
            threading.Event().wait(0.02)
        return False

    def stop(self, number=signal.SIGINT):
        """Ends it and waits: SIGINT = at once but in order, SIGKILL = a crash of
        the postmaster, after which its children end by themselves."""
        with self._guard:
            if self.process is None:
                return
            if self.process.poll() is None:
                self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
            self._wait_for_children()

    def _wait_for_children(self):
        """A new postmaster refuses to start while an old child has the memory."""
        end = time.monotonic() + PATIENCE
        while self.children_of_data():
            assert time.monotonic() < end, "Postgres's children live on"
            threading.Event().wait(0.01)

    def children_of_data(self):
        """pids of processes whose working folder is this server's data."""
        found = []
        for each in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(each / "cwd") == str(self.data):
                    found.append(int(each.name))
        return found

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # -- using it -------------------------------------------------------------

    def url(self, port=None, user=ROLE, password=None, **parameters):
        """For libpq. port: of a proxy; parameters: whatever an URL can say."""
        password = self.password if password is None else password
        more = "&".join("%s=%s" % each for each in sorted(parameters.items()))
        return "postgresql://%s:%s@127.0.0.1:%d/%s%s" % (
            user,
            password,
            port or self.port,
            ROLE,
            "?" + more if more else "",
        )

    def sql(self, text, database=None):
        """Runs it as the admin; what comes out, unaligned."""
        if database is None:
            database = "postgres"
        done = subprocess.run(
            [self.programs / "psql", "-X", "-q", "-A", "-t"]
            + ["-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", ADMIN]
            + ["-p", str(self.port), "-d", database, "-c", text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
