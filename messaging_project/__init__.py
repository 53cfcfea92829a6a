"""Wiring, and what spans the apps.

Importing it loads nothing: `messaging_project.apps` brings the Celery app in, and `messaging_project.local` must start
without the settings that it generates.
"""

__version__ = "0.1.0"
