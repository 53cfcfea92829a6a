"""A mail server that takes every mail and keeps a ledger of them, in the sandbox's format. A process of its own.

It listens on SANDBOX_PORT and keeps SANDBOX_LEDGER, as a sandbox does. Our Message-ID says whose mail it is.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from conversations.mail_links import message_ids_in
from messaging_project.local.servers import LOOPBACK


class PostOffice:
    """What aiosmtpd tells of the mails that come."""

    def __init__(self, ledger: Path) -> None:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Take a mail: its line is with the operating system before the answer leaves."""
        assert isinstance(envelope.content, bytes)
        header = str(message_from_bytes(envelope.content)["Message-ID"]).strip()
        for recipient in envelope.rcpt_tos:
            line = entry(header, str(envelope.mail_from), recipient)
            os.write(self._file, json.dumps(line).encode() + b"\n")
        return "250 OK"


def entry(header: str, sender: str, recipient: str) -> Mapping[str, object]:
    """A line of the ledger. A mail with a Message-ID that is none of ours is known by that."""
    ours = message_ids_in([header])
    return {
        "message_id": str(ours[0]) if ours else header,
        "provider": "smtp",
        "sender": sender,
        "recipient": recipient,
        "at": datetime.now(UTC).isoformat(),
        "details": {},
    }


async def serve(port: int, ledger: Path) -> None:
    """Serve until the process is killed."""
    loop, office = asyncio.get_running_loop(), PostOffice(ledger)
    server = await loop.create_server(lambda: SMTP(office, hostname="post.test", loop=loop), LOOPBACK, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(os.environ["SANDBOX_PORT"]), Path(os.environ["SANDBOX_LEDGER"])))
