"""What the running web process says of the whole system."""

import json
import urllib.error
import urllib.request

# Loopback is never behind a proxy, whatever the environment says.
local_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def trouble(url: str) -> str:
    """Ask /health: "" when it answers 200, else which check fails, or why there is no answer."""
    try:
        with local_http.open(f"{url}/health", timeout=5):
            return ""
    except urllib.error.HTTPError as answer:
        return f"/health answers {answer.code}: {_failing(answer.read())}"
    except (OSError, ValueError) as reason:
        return f"/health does not answer ({getattr(reason, 'reason', reason)})"


def _failing(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        unwell = {name: check for name, check in checks.items() if check.get("status") != "ok"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:300].decode(errors="replace")
    return "; ".join(f"{name} {json.dumps(check)}" for name, check in unwell.items())
