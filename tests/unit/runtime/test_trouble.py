"""Each reason is one line, and so is the end."""

from structlog.testing import capture_logs

from finwatch.runtime.logging import get_logger
from finwatch.runtime.trouble import Trouble


def test_a_reason_is_told_when_it_is_new_and_again_after_the_end() -> None:
    with capture_logs() as lines:
        trouble = Trouble(get_logger("x"))
        trouble.over()
        for _ in range(3):
            trouble.tell("not ready", detail="store")
        trouble.tell("not ready", detail="broker")
        trouble.over()
        trouble.over()
        trouble.tell("not ready", detail="broker")
    assert [(line["event"], line.get("detail")) for line in lines] == [
        ("not ready", "store"),
        ("not ready", "broker"),
        ("everything answers again", None),
        ("not ready", "broker"),
    ]
