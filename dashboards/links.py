"""Where alerts and panels send their reader."""

OVERVIEW_UID = "finwatch-overview"
# Prometheus serves docs/runbooks as its user assets (docker-compose.yml), so the pages are there whenever alerts are.
RUNBOOK_PATH = "/user"
RUNBOOKS = f"http://127.0.0.1:9090{RUNBOOK_PATH}"


def runbook(page: str) -> str:
    """Address of docs/runbooks/<page>.md in an alert's annotation: Prometheus puts its own address in."""
    return f"{{{{ $externalURL }}}}{RUNBOOK_PATH}/{page}.md"
