"""The commands of the local stack, one for each target of the Makefile."""

import argparse
import os
import sys

from messaging_project.local import LocalError, control, demo
from messaging_project.local.output import Console, Files
from messaging_project.local.runtime import Lock, is_running
from messaging_project.local.settings_file import Settings, look, prepare
from messaging_project.local.stack import Stack, check_ports, introduction


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Run the stack in the foreground until Ctrl-C."""
    lock = Lock.take(settings.var)
    check_ports(settings)
    settings = prepare(os.environ)
    output = Files(settings.var / "log") if options.log_to_files else Console()
    return Stack(settings, output, lock, durable=not options.throw_away).run()


def run_bg(settings: Settings, _: argparse.Namespace) -> int:
    """Run the stack in the background; return once everything is up."""
    settings, _supervisor = control.start_in_background(settings)
    print(introduction(settings))
    return 0


def stop(settings: Settings, _: argparse.Namespace) -> int:
    """Stop the running stack; return once all of it is gone."""
    print("Stopping." if is_running(settings.var) else "Nothing runs.")
    control.stop(settings)
    return 0


def restart_app(settings: Settings, _: argparse.Namespace) -> int:
    """Restart web and workers; the data stay."""
    control.restart_app(settings)
    print("Web and workers run anew.")
    return 0


def stop_worker(settings: Settings, _: argparse.Namespace) -> int:
    """Stop the workers of sms, mms and email."""
    control.stop_workers(settings)
    print("The workers of sms, mms and email are stopped.")
    return 0


def start_worker(settings: Settings, _: argparse.Namespace) -> int:
    """Start the workers of sms, mms and email again."""
    control.start_workers(settings)
    print("The workers of sms, mms and email run.")
    return 0


def worker(settings: Settings, _: argparse.Namespace) -> int:
    """Run a worker for sms, mms and email in the foreground, beside the running stack."""
    control.work_in_foreground(settings)
    return 0


def logs(settings: Settings, _: argparse.Namespace) -> int:
    """Follow the logs of a stack in the background."""
    control.follow_logs(settings)
    return 0


def show(settings: Settings, _: argparse.Namespace) -> int:
    """Send an SMS, an MMS and an email through the running stack."""
    demo.run(control.running_settings(settings).url)
    return 0


def reset(settings: Settings, _: argparse.Namespace) -> int:
    """Delete all data and generated settings of the stopped stack."""
    control.reset(settings)
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
        return COMMANDS[options.command](look(os.environ), options)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return 1


if __name__ == "__main__":
    sys.exit(main())
