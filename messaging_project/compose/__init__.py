"""docker-compose.yml carried out by hand: what a Docker host would start, started without Docker, and messages sent
through it. `make compose-by-hand` runs it.

    file        what docker-compose.yml and the Dockerfile say, with the variables filled in
    image       what the Dockerfile would put into the image, in a directory
    containers  a process where its container would be: its own root of files, its own name, its own environment
    host        who starts the services in their order, asks for their health and restarts them
    journeys    what has to go well on it

It needs Linux and the right to make namespaces, which root has and on most machines every user. In them every service
has the ports, paths and host names that it has in compose, whatever else runs on the machine.
"""


class ComposeError(Exception):
    """Something is not as docker-compose.yml promises. The text says what."""
