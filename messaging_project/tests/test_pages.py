"""What stands on the pages for developers is true: their blocks run as written, in their order, on the whole stack.

A ```bash block is typed into one shell, a ```python block is saved under the name in its first line. The ```json or
```text block after one is what is to be seen then; … in it stands for anything.
"""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.servers import free_port

BLOCK = re.compile(r"^```(bash|python|json|text)\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
SECONDS = 40


class Shell:
    """A bash in an empty directory, in which a command that fails is the end."""

    def __init__(self, place, environment):
        self.place, self.shown = place, place / "shown"
        (place / ".curlrc").write_text("silent\nshow-error\n")
        (place / ".venv").symlink_to(sys.prefix)
        (place / "manage.py").symlink_to(CHECKOUT / "manage.py")
        environment = {**environment, "CURL_HOME": str(place)}
        with self.shown.open("w") as shown:
            self.bash = subprocess.Popen(
                ["bash", "-eu"],
                cwd=place,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=shown,
                stderr=shown,
                text=True,
                start_new_session=True,
            )

    def run(self, block):
        """Type a block and wait for its end; returns where in the output it begins."""
        begin = len(self.shown.read_text())
        self.bash.stdin.write(f"{block}\necho 'done: '{begin}\n")
        self.bash.stdin.flush()
        self.wait_for(f"done: {begin}\n", begin)
        return begin

    def wait_for(self, expected, begin, again=lambda: None):
        """Wait until it is shown; run something again between the looks."""
        pattern = ".*?".join(re.escape(part.strip("\n")) for part in expected.split("…"))
        give_up_at = time.monotonic() + SECONDS
        while not re.search(pattern, self.shown.read_text()[begin:], re.DOTALL):
            shown = self.shown.read_text()[begin:]
            assert self.bash.poll() is None, f"The shell ended with {self.bash.returncode}:\n{shown[-2000:]}"
            assert time.monotonic() < give_up_at, f"Expected:\n{expected}\nShown:\n{shown[-2000:]}"
            time.sleep(0.2)
            again()

    def close(self):
        with suppress(ProcessLookupError):
            os.killpg(self.bash.pid, signal.SIGKILL)
        self.bash.wait(10)
        self.bash.stdin.close()


@pytest.fixture
def shell(stack, tmp_path):
    found = Shell(tmp_path, stack.env)
    yield found
    found.close()


def only_reads(block):
    return block.startswith("curl") and " -X " not in block


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["send-your-first-message.md", "receive-replies.md"])
def test_the_blocks_of_a_page_do_what_it_says(stack, shell, page):
    text = (CHECKOUT / "docs" / page).read_text().replace("localhost:8080", urlsplit(stack.url).netloc)
    blocks = BLOCK.findall(text.replace("9000", str(free_port())))
    assert {kind for kind, _ in blocks} >= {"bash"}
    assert "$(curl " not in text.replace("$(curl -sS ", ""), "Into a pipe curl writes its progress as well."
    for (kind, block), (following, expected) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "python":
            (shell.place / block.splitlines()[0].removeprefix("# ")).write_text(block)
        elif kind == "bash":
            begin = shell.run(block)
            expected = expected if following in ("json", "text") else ""
            shell.wait_for(expected, begin, again=lambda block=block: only_reads(block) and shell.run(block))
            assert "about:blank" in expected or "about:blank" not in shell.shown.read_text()[begin:]
