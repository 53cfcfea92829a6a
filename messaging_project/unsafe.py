"""What must not stand in the settings of a system that others can reach, and what mends it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import environ

from providers.wire import is_loopback

PLACEHOLDERS = {"secret", "PASSWORD", "password", "changeme", "switchboard", "REPLACE"}
HOW_TO_MAKE_ONE = "$(python3 -c 'import secrets; print(secrets.token_urlsafe(50))')"


def unsafe(settings: Mapping[str, Any], env: environ.Env) -> Iterator[str]:
    """Yield a sentence for each setting that is missing, can be guessed, or was left as an example has it; each with
    what to put into the environment instead.
    """
    left_over = {
        f"{name} that is no example's, or none": (True, f"{name}=")
        for name, value in settings.items()
        if is_left_over(name, value)
    }
    wanted = {**unsafe_secrets(settings, env), **unsafe_urls(settings, env), **left_over}
    for missing, (is_unsafe, mend) in wanted.items():
        if is_unsafe:
            yield f"Without DEBUG a {missing} is needed. Put it into the environment or .env: {mend}"


def unsafe_secrets(settings: Mapping[str, Any], env: environ.Env) -> dict[str, tuple[bool, str]]:
    """Return of each secret what is wanted, whether that is missing, and what mends it."""
    flower_password = env.ENVIRON.get("FLOWER_BASIC_AUTH", "").partition(":")[2]  # only Flower's own process has it
    optional = ("METRICS_TOKEN", "SENDGRID_INBOUND_SECRET", "SANDBOX_SECRET")
    return {
        "SECRET_KEY of at least 32 random characters": (
            is_weak(settings["SECRET_KEY"]),
            f"SECRET_KEY={HOW_TO_MAKE_ONE}",
        ),
        "former key in SECRET_KEY_FALLBACKS that was as long, or none": (
            any(map(is_weak, settings["SECRET_KEY_FALLBACKS"])),
            "SECRET_KEY_FALLBACKS=",
        ),
        "FLOWER_PASSWORD of at least 12 random characters": (
            flower_password != "" and is_weak(flower_password, 12, 6),
            f"FLOWER_PASSWORD={HOW_TO_MAKE_ONE}",
        ),
        **{
            f"{name} of at least 32 random characters, or none": (
                settings[name] != "" and is_weak(settings[name]),
                f"{name}={HOW_TO_MAKE_ONE}",
            )
            for name in optional
        },
    }


def unsafe_urls(settings: Mapping[str, Any], env: environ.Env) -> dict[str, tuple[bool, str]]:
    """Return of each URL what is wanted, whether that is missing, and what mends it."""
    optional = [name for name in settings if name == "BROKER_URL" or re.fullmatch(r"SMTP_(.+_)?URL", name)]
    return {
        "base URL of a provider that is https": (
            any(
                name.endswith("_BASE_URL") and value.startswith("http://") and not is_loopback(value)
                for name, value in settings.items()
            ),
            "TWILIO_BASE_URL=https://api.twilio.com SENDGRID_BASE_URL=https://api.sendgrid.com",
        ),
        "DATABASE_URL without the password of an example": (
            "DATABASE_URL" not in env or has_placeholder(env.str("DATABASE_URL")),
            "DATABASE_URL=postgres://switchboard:PASSWORD@HOST:5432/switchboard",
        ),
        "REDIS_URL without the password of an example": (
            "REDIS_URL" not in env or has_placeholder(settings["REDIS_URL"]),
            "REDIS_URL=redis://:PASSWORD@HOST:6379/0",
        ),
        **{
            f"{name} without the password of an example, or none": (has_placeholder(settings[name]), f"{name}=")
            for name in optional
        },
    }


def is_weak(secret: str, characters: int = 32, different: int = 10) -> bool:
    """Say whether a secret can be guessed: it is short, repeats itself, or was made by Django's startproject."""
    return len(secret) < characters or len(set(secret)) < different or secret.startswith("django-insecure-")


def has_placeholder(urls: str) -> bool:
    """Say whether a password in a URL, or in one of several Sentinels', is one that examples show.

    Without any it may be right: a socket, a certificate or a network of its own stands for it.
    """
    return any(urlsplit(url).password in PLACEHOLDERS for url in urls.split(";"))


def is_left_over(name: str, value: object) -> bool:
    """Say whether a setting still holds what an example has in its place."""
    return value == "REPLACE" or (name.endswith("_PASSWORD") and value in PLACEHOLDERS)
