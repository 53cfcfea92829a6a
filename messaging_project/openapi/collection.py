"""The API as a file of requests to send one by one, for JetBrains' HTTP client and VS Code's REST Client."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from drf_spectacular.generators import SchemaGenerator

from messaging_project.openapi.schema import EXAMPLE_ID

HEAD = """\
# Every request of Switchboard's API, made by: .venv/bin/python manage.py http_collection > docs/switchboard.http
# The key: .venv/bin/python manage.py create_api_key shop. The ids are those of things that you have.
@host = http://127.0.0.1:8080
@key = sb_
@provider = twilio
"""
METHODS = ("get", "post", "put", "patch", "delete")
JSON = "application/json"


def generated_schema() -> dict[str, Any]:
    """The schema of the API, as /api/schema serves it."""
    return dict(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


def operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the path, the method in lower case and the description of each operation of a schema."""
    for path, methods in schema["paths"].items():
        yield from ((path, method, methods[method]) for method in METHODS if method in methods)


def collection(schema: Mapping[str, Any]) -> str:
    """Return the text of the file: variables first, then a request with its example for each operation."""
    found = list(operations(schema))
    named = {name for path, *_ in found for name in path_parameters(path)} - {"provider"}
    variables = "".join(f"@{name} = {EXAMPLE_ID}\n" for name in sorted(named))
    return HEAD + variables + "".join(f"\n{request(*each)}" for each in found)


def path_parameters(path: str) -> list[str]:
    """Return the names of a path's parameters."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def request(path: str, method: str, operation: Mapping[str, Any]) -> str:
    """Return one request of the file."""
    schemas = {each["name"]: each["schema"] for each in operation.get("parameters", []) if each["in"] == "query"}
    asks = {name: schema["example"] for name, schema in schemas.items() if "example" in schema}
    target = path.replace("{", "{{").replace("}", "}}") + (f"?{urlencode(asks)}" if asks else "")
    lines = [f"### {operation['summary']}", f"# @name {operation['operationId']}"]
    lines += [f"{method.upper()} {{{{host}}}}{target}", "Authorization: Bearer {{key}}"]
    if body := operation.get("requestBody"):
        [example] = body["content"][JSON]["examples"].values()
        lines += [f"Content-Type: {JSON}", "", json.dumps(example["value"], ensure_ascii=False, indent=2)]
    return "\n".join(lines) + "\n"
