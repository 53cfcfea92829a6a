"""What a newcomer need not choose: ports, secrets and URLs, generated once into `var/local.env` and kept.

`messaging_project.settings` reads that file underneath the environment and `.env`, so whatever a person sets wins.
"""

import base64
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from messaging_project import env_file
from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT

PORTS = {
    "WEB_PORT": 8080,
    "FLOWER_PORT": 5555,
    "SANDBOX_PORT": 8090,
    "TEST_SANDBOX_PORT": 8091,
    "POSTGRES_PORT": 15432,
    "VALKEY_PORT": 16379,
}

# Of the embedded servers: never taken from outside, for a cluster knows no other than the one it was made with.
SERVER_PASSWORDS = ("LOCAL_POSTGRES_PASSWORD", "LOCAL_VALKEY_PASSWORD")


def setting_names(example: Path) -> set[str]:
    """The names of all settings: those that the example file lists, set or commented out."""
    text = example.read_text() if example.exists() else ""
    return set(re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=", text, re.MULTILINE))


def signing_keys() -> tuple[str, str]:
    """A new ECDSA P-256 pair as SendGrid writes it, base64 of DER: SubjectPublicKeyInfo, and PKCS 8."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return base64.b64encode(public).decode(), base64.b64encode(private).decode()


def read(path: Path) -> dict[str, str]:
    """The values of a settings file, read by the same rules as `messaging_project.settings` does; {} without a file.

    Raises `LocalError` when a file can't be read: to take it for none would make new secrets for old data.
    """
    try:
        return env_file.read(path)
    except FileNotFoundError:
        return {}
    except OSError as reason:
        raise LocalError(f"{path} can't be read ({reason}): put it right; `make reset` begins anew.") from None
    except env_file.MalformedFile as reason:
        raise LocalError(str(reason)) from None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stack runs with.

    `source` is the environment they were worked out from. `environment` is complete: every child gets it as it is.
    `made` is ours, as far as it is not `given`; `generated` names what of that was made up just now.
    """

    var: Path
    source: dict[str, str]
    environment: dict[str, str]
    ports: dict[str, int]
    given: frozenset[str]
    made: dict[str, str]
    generated: frozenset[str]

    @property
    def url(self) -> str:
        """Where the web process answers."""
        return f"http://127.0.0.1:{self.ports['WEB_PORT']}"

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers."""
        return f"http://127.0.0.1:{self.ports['SANDBOX_PORT']}"

    @property
    def uses_sandbox(self) -> bool:
        """Whether at least one provider is the sandbox."""
        return self.sandbox_url in {self.environment.get("TWILIO_BASE_URL"), self.environment.get("SENDGRID_BASE_URL")}

    @property
    def needed_ports(self) -> dict[str, int]:
        """The ports that have to be free, the servers' included."""
        idle = {"SANDBOX_PORT": not self.uses_sandbox, "TEST_SANDBOX_PORT": not self.has_test_sandbox}
        return {name: port for name, port in self.ports.items() if not idle.get(name)}

    @property
    def has_test_sandbox(self) -> bool:
        """Whether the sandbox of test clients is one of ours."""
        return "SANDBOX_URL" in self.made


def prepare(environment: Mapping[str, str]) -> Settings:
    """Work out the settings from the environment, `.env` and what was kept; generate and keep what is missing.

    An empty value counts as none. Raises `LocalError` for a port that is no port.
    """
    settings = look(environment)
    write(settings.var / "local.env", settings.made)
    return settings


def place(environment: Mapping[str, str]) -> Path:
    """The directory that everything of the stack lives in, whatever else the settings say."""
    return Path(given_settings(environment).get("VAR_DIR") or CHECKOUT / "var").absolute()


def given_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What `.env` and the environment say; the environment wins, and an empty value is none."""
    dotenv = read(Path(environment.get("ENV_FILE") or CHECKOUT / ".env"))
    return {name: value for name, value in [*dotenv.items(), *environment.items()] if value}


def look(environment: Mapping[str, str]) -> Settings:
    """Work out the settings as `prepare` does, and write nothing."""
    given, var = given_settings(environment), place(environment)
    kept = read(var / "local.env")
    ports = {name: _port(name, given.get(name, default)) for name, default in PORTS.items()}
    made = _derived(ports, given, _secrets(given, kept))
    return Settings(
        var=var,
        source={**environment, "VAR_DIR": str(var)},
        environment={**made, **given, "VAR_DIR": str(var)},
        ports=ports,
        given=frozenset(given),
        made=made,
        generated=frozenset(made) - frozenset(kept) - frozenset(given),
    )


def write(path: Path, values: Mapping[str, str]) -> None:
    """Write a settings file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = ["# Generated by the local stack, for this machine only. The environment and .env win over it."]
    replace_file(path, "\n".join([*lines, *(f"{name}={values[name]}" for name in sorted(values)), ""]))


def replace_file(path: Path, text: str) -> None:
    """Write a file of mode 600 in one step, so that a reader never meets half of it, also when the disk is full."""
    handle, unfinished = tempfile.mkstemp(dir=path.parent)  # of mode 600
    try:
        with open(handle, "w") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError:
        os.unlink(unfinished)
        raise


def _secrets(given: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """The secrets that are ours: kept ones, else new ones; none for a provider whose real account is given.

    What the data of this machine depend on is kept also while something given wins over it.
    """
    lasting: dict[str, Callable[[], str]] = {
        "SECRET_KEY": lambda: secrets.token_urlsafe(50),
        "ADMIN_PASSWORD": lambda: secrets.token_urlsafe(12),
        "FLOWER_PASSWORD": lambda: secrets.token_urlsafe(12),
        "SANDBOX_SECRET": lambda: secrets.token_urlsafe(32),
        **{name: lambda: secrets.token_urlsafe(24) for name in SERVER_PASSWORDS},
    }
    makers: dict[str, Callable[[], str]] = {}
    if "TWILIO_ACCOUNT_SID" not in given:
        makers["TWILIO_ACCOUNT_SID"] = lambda: "AC" + secrets.token_hex(16)
        makers["TWILIO_AUTH_TOKEN"] = lambda: secrets.token_hex(16)
    if "SENDGRID_API_KEY" not in given:
        makers["SENDGRID_API_KEY"] = lambda: f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}"
    makers = lasting | {name: make for name, make in makers.items() if name not in given}
    made = {name: kept.get(name) or make() for name, make in makers.items()}
    return made | (_signing_keys(given, kept) if "SENDGRID_API_KEY" not in given else {})


def _signing_keys(given: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """The sandbox's key pair, as a pair or not at all: one half of ours is of no use with one of somebody else's."""
    names = ("SENDGRID_WEBHOOK_PUBLIC_KEY", "SANDBOX_SENDGRID_PRIVATE_KEY")
    if any(name in given for name in names):
        return {}
    if all(kept.get(name) for name in names):
        return {name: kept[name] for name in names}
    return dict(zip(names, signing_keys(), strict=True))


def _derived(ports: Mapping[str, int], given: Mapping[str, str], made: dict[str, str]) -> dict[str, str]:
    """Add what follows from ports and secrets, and so is worked out anew each time."""
    postgres, valkey = (made[name] for name in SERVER_PASSWORDS)
    derived = {
        "DEBUG": "true",
        "PUBLIC_URL": f"http://127.0.0.1:{ports['WEB_PORT']}",
        "DATABASE_URL": f"postgres://switchboard:{postgres}@127.0.0.1:{ports['POSTGRES_PORT']}/switchboard",
        "REDIS_URL": f"redis://:{valkey}@127.0.0.1:{ports['VALKEY_PORT']}/0",
        "FLOWER_URL": f"http://127.0.0.1:{ports['FLOWER_PORT']}",
        "SANDBOX_URL": f"http://127.0.0.1:{ports['TEST_SANDBOX_PORT']}",
        # Media at the sandbox lies behind a redirect to another host name, as it does at Twilio.
        "FETCH_ALLOW": f"localhost:{ports['TEST_SANDBOX_PORT']}",
    }
    for provider, account in (("TWILIO", "TWILIO_ACCOUNT_SID"), ("SENDGRID", "SENDGRID_API_KEY")):
        if account in made:
            derived[f"{provider}_BASE_URL"] = f"http://127.0.0.1:{ports['SANDBOX_PORT']}"
            derived["FETCH_ALLOW"] = f"localhost:{ports['SANDBOX_PORT']},localhost:{ports['TEST_SANDBOX_PORT']}"
    return made | {name: value for name, value in derived.items() if name not in given}


def _port(name: str, value: str | int) -> int:
    try:
        port = int(value)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise LocalError(f"{name}={value} is no port: give a number from 1 to 65535.")
    return port
