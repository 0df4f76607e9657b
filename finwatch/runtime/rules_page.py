"""docs/rules.md, generated from the rules' own declarations: `python -m finwatch.runtime.rules_page`."""

from itertools import groupby
from pathlib import Path

from finwatch.domain.findings import APPROVALS
from finwatch.domain.rulebook import Entry, entries, measured
from finwatch.domain.rules import Rule
from finwatch.runtime.policies import packaged_policy

PATH = Path(__file__).parents[2] / "docs" / "rules.md"
HEAD = """# Rules
Generated from the rules' own declarations and the shipped policy `{policy}`; do not edit. Each rule says what it
looks for, in what, under which settings of the policy, what a finding of it reads like, and who owns it. Severity,
owner and next action are the policy's and can be changed there; your own approvals and service levels are rules like
these. Rules with a time in which to be resolved are the closed list of exceptions, with backlog, ageing and rates.

Each example is a test (`pytest tests/unit/agents/test_rule_examples.py`). `finwatch explain ID` shows the events of a
finding and computes it again.
"""
_DETECTORS = {
    "approvals": "Approval ageing: steps that wait for a decision, and how long.",
    "sla": "Service levels: clocks with a target, warnings on the way, a breach and escalations after it.",
    "exceptions": "Exceptions: deviations of one document: a closed list.",
    "duplicates": "Duplicates: bills that are told or paid twice.",
    "matching": "Matching: orders, receipts and bills side by side, line by line.",
    "duties": "Duties: who may not have done both, and other misuse.",
}


def render() -> str:
    """The page, ending with a newline."""
    policy = packaged_policy("default")
    lines = [HEAD.format(policy=policy.label)]
    for detector, group in groupby(entries(policy), key=lambda entry: entry.rule.detector):
        title, _, meaning = _DETECTORS[detector].partition(": ")
        lines.append(f"\n## {title}\n{meaning.capitalize()} (detector `{detector}`)\n")
        for entry in group:
            lines.append(_section(entry))
        if detector == APPROVALS:
            lines += [_measured(rule) for rule in measured(policy)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(entry: Entry) -> str:
    rule = entry.rule
    keys = ", ".join(f"`{key}`" for key in rule.policy_keys) or "none of its own"
    return (
        f"### {rule.id}\n{rule.meaning}\n\n"
        "| | |\n|---|---|\n"
        f"| reads | {', '.join(f'`{name}`' for name in rule.inputs)} |\n"
        f"| policy | {keys} |\n"
        f"| title | {rule.title} |\n"
        f"| reason | {_cell(rule.finding)} |\n"
        f"| severity | {entry.severity} |\n"
        f"| owner | {entry.owner} |\n"
        f"| next action | {_cell(entry.next_action)} |\n"
        + (f"| as an exception | to be resolved within {entry.service_level} |\n" if entry.service_level else "")
        + f"| example | {_cell(rule.example)} |\n"
    )


def _measured(rule: Rule) -> str:
    keys = ", ".join(f"`{key}`" for key in rule.policy_keys)
    return (
        f"### {rule.id}\n{rule.meaning}\n\n"
        "| | |\n|---|---|\n"
        f"| reads | {', '.join(f'`{name}`' for name in rule.inputs)} |\n"
        f"| policy | {keys} |\n"
        f"| title | {rule.title} |\n"
        f"| example | {_cell(rule.example)} |\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
