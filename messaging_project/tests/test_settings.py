"""What refuses to start, and how it says so."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

SOUND = {
    "ENV_FILE": os.devnull,
    "VAR_DIR": "/nonexistent",
    "DEBUG": "false",
    "SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
    "DATABASE_URL": "postgres://switchboard@127.0.0.1:9/switchboard",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "PUBLIC_URL": "https://switchboard.example.com",
}


def start(expression="", **values):
    """Import the settings in a process of its own and evaluate an expression on them."""
    environment = {"PATH": os.environ["PATH"], **{name: value for name, value in (SOUND | values).items() if value}}
    code = f"from messaging_project import settings; print({expression})"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True)


def test_sound_settings_start():
    assert start("settings.TRUST_LOCAL_REQUESTS, settings.SESSION_COOKIE_SECURE").stdout == "False True\n"


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY=$(python3"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY=$(python3"),
        ({"SECRET_KEY": "abc" * 20}, "SECRET_KEY=$(python3"),
        ({"SECRET_KEY": f"django-insecure-{SOUND['SECRET_KEY']}"}, "SECRET_KEY=$(python3"),
        ({"SECRET_KEY_FALLBACKS": f"{SOUND['SECRET_KEY']},short"}, "SECRET_KEY_FALLBACKS="),
        ({"METRICS_TOKEN": "prometheus"}, "METRICS_TOKEN=$(python3"),
        ({"FLOWER_BASIC_AUTH": "admin:admin"}, "FLOWER_PASSWORD=$(python3"),
        ({"SENDGRID_INBOUND_SECRET": "inbound"}, "SENDGRID_INBOUND_SECRET=$(python3"),
        ({"SENDGRID_BASE_URL": "http://sendgrid.example.com"}, "a provider that is https"),
        ({"DATABASE_URL": ""}, "DATABASE_URL=postgres://"),
        ({"DATABASE_URL": "postgres://switchboard:secret@db:5432/switchboard"}, "without the password of an example"),
        ({"DATABASE_URL": "postgres://switchboard:REPLACE@db:5432/switchboard"}, "DATABASE_URL=postgres://"),
        ({"REDIS_URL": ""}, "REDIS_URL=redis://"),
        ({"REDIS_URL": "redis://:PASSWORD@redis:6379/0"}, "without the password of an example"),
        (
            {"REDIS_URL": "sentinel://one:26379/0;sentinel://:secret@two:26379/0", "REDIS_SENTINEL_MASTER": "m"},
            "REDIS_URL without the password of an example",
        ),
        ({"BROKER_URL": "amqp://user:secret@rabbitmq:5672/vhost"}, "BROKER_URL without the password of an example"),
        ({"SMTP_URL": "smtp+tls://user:password@mail.example.com:587"}, "SMTP_URL without the password of an example"),
        (
            {"ROUTE_EMAIL": "smtp_backup", "SMTP_BACKUP_URL": "smtp://user:REPLACE@mail.example.com:587"},
            "SMTP_BACKUP_URL without the password of an example",
        ),
        ({"PUBLIC_URL": "http://127.0.0.1:eighty"}, "PUBLIC_URL is no URL: Port could not be cast"),
        ({"TWILIO_AUTH_TOKEN": "REPLACE"}, "TWILIO_AUTH_TOKEN that is no example's"),
        ({"REDIS_SENTINEL_PASSWORD": "PASSWORD"}, "REDIS_SENTINEL_PASSWORD that is no example's"),
        ({"LEASE_SECONDS": "25"}, "set it above PROVIDER_TIMEOUT_SECONDS (20) + 5"),
        ({"ROUTE_SMS": "sendgrid"}, "for sms an account is called twilio, or"),
        ({"ROUTE_EMAIL": "sendgrid,smtp,sendgrid"}, "ROUTE_EMAIL=sendgrid,smtp,sendgrid is no list of accounts"),
        ({"ROUTE_EMAIL": "sendgrid,Twilio"}, "an account is called sendgrid or smtp"),
        ({"ROUTE_SMS": f"twilio,twilio_{'x' * 41}"}, "is no list of accounts"),
        ({"ROUTE_SMS": "twilio,twilio_secondary"}, "call twilio_secondary something else"),
        ({"SENDER_RATES": "long_code=0"}, "how many messages a second may leave, above 0"),
        ({"SENDER_RATES": "longcode=1"}, "one of alphanumeric, email, long_code"),
        (
            {"BROKER_URL": "kafka://127.0.0.1"},
            "BROKER_URL begins with one of redis://, rediss://, sentinel://, amqp://",
        ),
        ({"REDIS_URL": "amqp://127.0.0.1"}, "REDIS_URL begins with one of redis://, rediss://, sentinel://."),
        ({"REDIS_URL": "sentinel://:x@127.0.0.1:26379/0"}, "set REDIS_SENTINEL_MASTER"),
        ({"SANDBOX_URL": "http://sandbox:8091"}, "Test clients need both"),
        ({"SANDBOX_URL": "http://sandbox:8091", "SANDBOX_SECRET": "short"}, "of at least 32 characters"),
        ({"SANDBOX_URL": "http://sandbox:8091", "SANDBOX_SECRET": "ab" * 20}, "SANDBOX_SECRET=$(python3"),
    ],
)
def test_what_is_unsafe_refuses_to_start_and_names_the_mend(values, mend):
    refused = start(**values)
    assert refused.returncode != 0
    assert mend in refused.stderr


def test_where_no_password_is_asked_for_none_is_needed():
    socket, sentinels = "postgres://app@%2Frun%2Fpostgresql/app", "sentinel://one:26379/0;sentinel://two:26379/0"
    given = {"DATABASE_URL": socket, "REDIS_URL": sentinels, "REDIS_SENTINEL_MASTER": "switchboard"}
    started = start("settings.REDIS_URL", **given, SMTP_URL="smtp://relay:25", BROKER_URL="amqp://rabbitmq/switchboard")
    assert started.stdout.strip() == sentinels


@pytest.mark.parametrize(
    ("debug", "public_url", "trusted"),
    [
        ("true", "http://127.0.0.1:8080", True),
        ("true", "http://localhost:8080", True),
        ("false", "http://127.0.0.1:8080", False),
        ("true", "https://switchboard.example.com", False),
    ],
)
def test_requests_without_a_key_are_taken_with_debug_on_a_loopback_url_only(debug, public_url, trusted):
    started = start("settings.TRUST_LOCAL_REQUESTS", DEBUG=debug, PUBLIC_URL=public_url)
    assert started.stdout.strip() == str(trusted)


def test_a_further_account_has_settings_of_its_own_and_inherits_no_secret():
    given = {"ROUTE_SMS": "twilio,twilio_backup", "TWILIO_AUTH_TOKEN": "one", "TWILIO_BACKUP_ACCOUNT_SID": "AC2"}
    given |= {"TWILIO_BASE_URL": "https://api.example.com", "TWILIO_BACKUP_SUBACCOUNT_TOKENS": "AC3=three"}
    names = ("ACCOUNT_SID", "AUTH_TOKEN", "BASE_URL", "SUBACCOUNT_TOKENS")
    started = start(
        f"[getattr(settings, 'TWILIO_BACKUP_' + name) for name in {names}], settings.ROUTES['mms']", **given
    )
    own = ["AC2", "", "https://api.example.com", {"AC3": "three"}]
    assert started.stdout.strip() == f"{own} {['twilio', 'twilio_backup']}"


def test_a_value_that_begins_with_a_dollar_is_itself():
    secret = f"$ecret-{SOUND['SECRET_KEY']}"
    assert start("settings.SECRET_KEY", SECRET_KEY=secret).stdout.strip() == secret


@pytest.mark.parametrize("line", ["SECRET_KEY = half-a-secret", "half-a-secret"])
def test_a_line_that_can_not_be_read_is_named_by_its_number_and_never_shown(tmp_path, line):
    dotenv = tmp_path / "dotenv"
    dotenv.write_text(f"# The site\n \nDEBUG=true\n{line}\n")
    refused = start(ENV_FILE=str(dotenv))
    assert refused.returncode != 0
    assert f"Line 4 of {dotenv} can't be read: write NAME=value" in refused.stderr
    assert "half-a-secret" not in refused.stdout + refused.stderr


def test_a_settings_file_is_read_as_django_environ_does_and_the_environment_wins(tmp_path):
    dotenv = tmp_path / "dotenv"
    dotenv.write_text("export LOG_LEVEL='error'\n  # a comment\nFLOWER_URL=\"https://a#b\"\nPUBLIC_URL=http://other\n")
    started = start("settings.LOG_LEVEL, settings.FLOWER_URL, settings.PUBLIC_URL", ENV_FILE=str(dotenv))
    assert started.stdout.split() == ["ERROR", "https://a#b", SOUND["PUBLIC_URL"]]


def test_behind_pgbouncer_nothing_outlives_a_transaction():
    names = "(d['DISABLE_SERVER_SIDE_CURSORS'], d['OPTIONS']['prepare_threshold'])"
    started = start(f"[{names} for d in settings.DATABASES.values()]", DATABASE_VIA_PGBOUNCER="true")
    assert started.stdout.strip() == "[(True, None)]"


def test_the_broker_is_redis_unless_another_is_named():
    assert start("settings.BROKER_URL").stdout.strip() == SOUND["REDIS_URL"]
    amqp = "amqp://guest@127.0.0.1:9//"
    assert start("settings.BROKER_URL, settings.REDIS_URL", BROKER_URL=amqp).stdout.split() == [
        amqp,
        SOUND["REDIS_URL"],
    ]


def test_the_public_host_and_loopback_are_served_and_no_other():
    assert start("settings.ALLOWED_HOSTS[0]").stdout.strip() == "switchboard.example.com"
    assert start("'*' in settings.ALLOWED_HOSTS").stdout.strip() == "False"


def test_further_hosts_are_served_beside_the_public_one():
    started = start("*settings.ALLOWED_HOSTS", ALLOWED_HOSTS="10.1.2.3,inside.example.com")
    assert started.stdout.split()[:3] == ["switchboard.example.com", "10.1.2.3", "inside.example.com"]
    assert "127.0.0.1" in started.stdout


@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [
        ("https://switchboard.example.com", "__Host-sessionid", True),
        ("https://switchboard.example.com:8443", "__Host-sessionid", True),
        ("http://127.0.0.1:9080", "sessionid_9080", False),
        ("http://switchboard.internal", "sessionid", False),
    ],
)
def test_no_sub_domain_over_tls_and_no_other_port_without_it_can_replace_a_session(public_url, name, secure):
    started = start("settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE", PUBLIC_URL=public_url)
    assert started.stdout.strip() == f"{name} {secure}"
