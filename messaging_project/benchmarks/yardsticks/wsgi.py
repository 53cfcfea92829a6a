"""The WSGI application of the yardsticks, for gunicorn."""

from django.core.wsgi import get_wsgi_application

from messaging_project.benchmarks.yardsticks import celery

application = get_wsgi_application()
celery.app.set_default()
