"""Where alerts and panels send their reader."""

RUNBOOKS = "https://github.com/finwatch/finwatch/blob/main/docs/runbooks"
RUNBOOK_FOLDER = "docs/runbooks"
OVERVIEW_UID = "finwatch-overview"


def runbook(name: str) -> str:
    """Address of the page docs/runbooks/<name>.md."""
    return f"{RUNBOOKS}/{name}.md"
