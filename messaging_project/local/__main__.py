"""The commands of the local stack, one for each target of the Makefile."""

import argparse
import os
import sys
from pathlib import Path

from messaging_project.local import LocalError, control, demo, preflight
from messaging_project.local.output import Console, Files
from messaging_project.local.runtime import Lock, State, is_running, supervisor
from messaging_project.local.settings_file import look, place, prepare
from messaging_project.local.stack import Stack, introduction


def run(var: Path, options: argparse.Namespace) -> int:
    """Run the stack in the foreground until Ctrl-C."""
    lock = Lock.take(var)
    listener = preflight.check(look(os.environ))
    output = Files(var / "log") if options.log_to_files else Console()
    return Stack(prepare(os.environ), output, lock, listener, durable=not options.throw_away).run()


def run_bg(var: Path, _: argparse.Namespace) -> int:
    """Run the stack in the background; return once everything is up, also where it was up before."""
    if supervisor(var):
        settings = control.well_already(var)
        print("It runs already.")
    else:
        settings, _supervisor = control.start_in_background(look(os.environ))
    print(introduction(settings, strange_admin=bool(State(settings.var).read().get("strange_admin"))))
    return 0


def stop(var: Path, _: argparse.Namespace) -> int:
    """Stop the running stack; return once all of it is gone."""
    print("Stopping." if is_running(var) else "Nothing runs.")
    control.stop(var)
    return 0


def restart_app(var: Path, _: argparse.Namespace) -> int:
    """Restart web and workers; the data stay."""
    control.restart_app(var)
    print("Web and workers run anew.")
    return 0


def stop_worker(var: Path, _: argparse.Namespace) -> int:
    """Stop the workers of sms, mms and email."""
    control.stop_workers(var)
    print("The workers of sms, mms and email are stopped; what is sent waits. `make start-worker` starts them again.")
    return 0


def start_worker(var: Path, _: argparse.Namespace) -> int:
    """Start the workers of sms, mms and email again."""
    control.start_workers(var)
    print("The workers of sms, mms and email run.")
    return 0


def worker(var: Path, _: argparse.Namespace) -> int:
    """Run a worker for sms, mms and email in the foreground, beside the running stack."""
    control.work_in_foreground(var)
    return 0


def logs(var: Path, _: argparse.Namespace) -> int:
    """Follow the logs of a stack in the background."""
    control.follow_logs(var)
    return 0


def show(var: Path, _: argparse.Namespace) -> int:
    """Send an SMS, an MMS and an email through the running stack."""
    demo.run(control.running_settings(var).url)
    return 0


def verify(var: Path, _: argparse.Namespace) -> int:
    """Check the queue, the workers and the webhooks of the running stack."""
    control.verify_in_foreground(var)
    return 0


def reset(var: Path, _: argparse.Namespace) -> int:
    """Delete all data and generated settings of the stopped stack."""
    control.reset(var)
    print(f"The data and generated settings in {var} are gone.")
    return 0


COMMANDS = {
    "run": run,
    "run-bg": run_bg,
    "stop": stop,
    "restart-app": restart_app,
    "stop-worker": stop_worker,
    "start-worker": start_worker,
    "worker": worker,
    "logs": logs,
    "demo": show,
    "verify": verify,
    "reset": reset,
}


def main() -> int:
    """Run one command. Returns its exit code; what can't be done is one sentence on stderr and 1."""
    parser = argparse.ArgumentParser(prog="python -m messaging_project.local")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--log-to-files", action="store_true", help="with run: one file per child in var/log")
    parser.add_argument("--throw-away", action="store_true", help="with run: no fsync; the data are worth nothing")
    options = parser.parse_args()
    try:
        code = COMMANDS[options.command](place(os.environ), options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # nobody reads any more, as after `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except (LocalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return 1


if __name__ == "__main__":
    sys.exit(main())
