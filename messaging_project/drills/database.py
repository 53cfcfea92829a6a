"""PostgreSQL that goes down. What was answered 2xx is in it all the same."""

from messaging_project.drills.ground import NO_ANSWER, Ground, drill

RATE = 15.0
# The one thing that a post may be refused for is that it could not be kept.
REFUSED = (503, NO_ANSWER)
DATABASE_AWAY = (
    r"(OperationalError|InterfaceError|AdminShutdown|PoolTimeout|CrashShutdown|CannotConnectNow)",
    r"consuming input failed|connection (failed|is closed|is lost|refused)|server closed the connection",
    r"Service Unavailable",
    r"in recovery mode|starting up|terminating connection",
)


@drill("database-crash", short=True, answers=REFUSED, expects=DATABASE_AWAY)
def database_crash(ground: Ground) -> None:
    """PostgreSQL is killed with all its backends, twice, and comes back after 4 s."""
    with ground.client.load(RATE):
        for _ in range(2):
            ground.wait(4)
            with ground.fault():
                ground.stack.crash_postgres()
                ground.wait(4)
                ground.stack.restart_postgres()
            ground.count_doubtful_emails()
