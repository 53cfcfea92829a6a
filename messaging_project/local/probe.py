"""What the running web process says of the whole system."""

import json
import urllib.error
import urllib.request

# Loopback is never behind a proxy, whatever the environment says.
local_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
WITHOUT_KEY = "only DEBUG=true with a PUBLIC_URL on loopback takes requests without one."


def trouble(url: str, *, seconds: float = 5) -> str:
    """Ask /health: "" when it answers 200, else which check fails, or why there is no answer within `seconds`."""
    try:
        with local_http.open(f"{url}/health", timeout=seconds):
            return ""
    except urllib.error.HTTPError as answer:
        return f"/health answers {answer.code}: {_failing(answer.read())}"
    except (OSError, ValueError) as reason:
        return f"/health does not answer ({getattr(reason, 'reason', reason)})"


def needs_key(url: str) -> bool:
    """Whether the API turns those away who bring no key."""
    try:
        with local_http.open(f"{url}/api/v1/messages", timeout=5):
            return False
    except urllib.error.HTTPError as answer:
        return answer.code == 401
    except OSError:
        return False


def _failing(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        unwell = {name: check for name, check in checks.items() if check.get("status") != "ok"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:300].decode(errors="replace")
    return "; ".join(f"{name} {json.dumps(check)}" for name, check in unwell.items())
