"""Which policy is in force on a partition: the files' to begin with, then what was published, as the input says it.

A ``PolicyChange`` stands on every partition of a stage's input, between the same events in a live run and in a replay.
It is remembered in rows, so that a worker that takes a partition over goes by the same policies, whatever its own file
says by then:

- ``m:policies`` every version this partition goes by or will go by, with its content;
- ``p:<source>`` the source's succession of versions, and the number of the one in force. Its timer is the start of the
  next, in the source's time.

The source switches when its time passes that start, or when an event shows a fact from after it, whichever comes first:
either way between the same two facts of each document.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha256

from msgspec import Struct

from finwatch.domain.events import PolicyChange
from finwatch.domain.policy import Policy, PolicyError, PolicySet, Version, parse_content, succession
from finwatch.runtime.logging import get_logger
from streams.stage import InvalidEvent, UnknownPolicy, View

VERSIONS_ROW = "m:policies"
NEVER = 2**63 - 1


class KnownVersion(Struct, array_like=True):
    """A version of a policy. ``start`` in epoch microseconds."""

    start: int
    content_hash: str


class Versions(Struct, array_like=True):
    """What a partition knows. ``shipped``: the versions of the files it began with, ``published``: what came since."""

    shipped: list[KnownVersion] = []
    published: list[KnownVersion] = []
    changes: list[str] = []  # ids of the changes taken in
    contents: dict[str, str] = {}
    sources: list[str] = []  # those that have a succession


class Succession(Struct, array_like=True):
    """The versions of one source, in order of their start; ``starts[0]`` is 0."""

    starts: list[int]
    hashes: list[str]
    current: int = 0
    key: str = ""  # what was in force until now, as one text; two successions of one key have one past
    next_start: int = NEVER  # when the version after the current one starts

    def arrange(self) -> None:
        """Bring ``key`` and ``next_start`` in line with the rest."""
        following = self.current + 1
        self.next_start = self.starts[following] if following < len(self.starts) else NEVER
        pairs = zip(self.starts[:following], self.hashes[:following], strict=True)
        self.key = " ".join(f"{start}:{content_hash}" for start, content_hash in pairs)


class PolicyBook:
    """Answers which policy is in force. Keeps nothing but compiled policies."""

    def __init__(self, policies: PolicySet) -> None:
        self._files = policies
        self._compiled = {version.policy.content_hash: version.policy for version in policies.versions}
        self._told: set[tuple[str, str]] = set()

    def succession(self, view: View, source: str) -> Succession:
        """The versions of a source on this partition; written down when it is first asked for."""
        found = view.get(f"p:{source}", Succession)
        if found is None:
            found = self._begin(view, source)
        return found

    def policy(self, view: View, content_hash: str) -> Policy:
        """The policy of a content that this partition knows. Raises UnknownPolicy."""
        found = self._compiled.get(content_hash)
        if found is None:
            versions = view.get(VERSIONS_ROW, Versions)
            assert versions is not None, "a partition that names a version has its content"
            found = self._compiled[content_hash] = _read(versions.contents[content_hash], content_hash)
            self._tell(found)
        return found

    def current(self, view: View, source: str) -> Policy:
        """The policy in force for a source."""
        known = self.succession(view, source)
        return self.policy(view, known.hashes[known.current])

    def sole(self, view: View, source: str) -> Policy | None:
        """The policy of a source that has ever had one only; None for one that has had several, or has others ahead."""
        known = view.get(f"p:{source}", Succession) or self._begin(view, source)
        hashes = known.hashes
        if len(hashes) > 1:
            return None
        return self._compiled.get(hashes[0]) or self.policy(view, hashes[0])

    def at(self, view: View, source: str, moment: int) -> Policy:
        """The policy in force for a source at a moment of its events' time."""
        known = view.get(f"p:{source}", Succession) or self._begin(view, source)
        hashes = known.hashes
        content_hash = hashes[0] if len(hashes) == 1 else hashes[bisect_right(known.starts, moment) - 1]
        return self._compiled.get(content_hash) or self.policy(view, content_hash)

    def take(self, view: View, change: PolicyChange) -> list[str] | None:
        """Take in a change. Returns the sources whose succession it touched; None for a repeat.

        Raises InvalidEvent for a content that is not the one the change names: the record was damaged, and nobody can
        take it. Raises UnknownPolicy for one that is, and that cannot be read here: another version of finwatch, which
        checked it, published it.
        """
        versions = view.get(VERSIONS_ROW, Versions) or Versions()
        if change.change_id in versions.changes:
            return None
        if change.content_hash not in self._compiled:
            if sha256(change.content.encode()).hexdigest() != change.content_hash:
                raise InvalidEvent("invalid_policy", "content and content_hash do not agree")
            self._compiled[change.content_hash] = _read(change.content, change.label)
        if not versions.shipped:
            self._write_shipped(versions)
        versions.changes.append(change.change_id)
        versions.contents[change.content_hash] = change.content
        versions.published.append(KnownVersion(change.effective_at, change.content_hash))
        view.put(VERSIONS_ROW, versions)
        return [source for source in sorted(versions.sources) if self._extend(view, source, versions)]

    def switch(self, view: View, source: str) -> Succession:
        """Put the next version of a source in force."""
        known = self.succession(view, source)
        known.current += 1
        self.save(view, source, known)
        return known

    def save(self, view: View, source: str, known: Succession) -> None:
        """Store a succession, with the timer of its next version."""
        known.arrange()
        view.put(f"p:{source}", known, None if known.next_start == NEVER else known.next_start)

    def _begin(self, view: View, source: str) -> Succession:
        versions = view.get(VERSIONS_ROW, Versions)
        if versions is None:
            versions = Versions()
            self._write_shipped(versions)
        versions.sources.append(source)
        view.put(VERSIONS_ROW, versions)
        found = self._successive(view, source, versions)
        known = Succession([v.start for v in found], [v.policy.content_hash for v in found])
        self.save(view, source, known)
        return known

    def _extend(self, view: View, source: str, versions: Versions) -> bool:
        """Bring a source's succession in line; what was in force stays, a start in its past becomes its own start."""
        known = self.succession(view, source)
        found = self._successive(view, source, versions)
        now = known.current
        starts, hashes = known.starts[: now + 1], known.hashes[: now + 1]
        passed = [v for v in found if v.start <= starts[now]]
        if passed and passed[-1].policy.content_hash != hashes[now]:
            starts.append(starts[now])
            hashes.append(passed[-1].policy.content_hash)
        for version in found:
            if version.start > starts[now] and version.policy.content_hash != hashes[-1]:
                starts.append(version.start)
                hashes.append(version.policy.content_hash)
        if (starts, hashes) == (known.starts, known.hashes):
            return False
        known.starts, known.hashes = starts, hashes
        self.save(view, source, known)
        return True

    def _successive(self, view: View, source: str, versions: Versions) -> list[Version]:
        known = [Version(v.start, self.policy(view, v.content_hash)) for v in versions.shipped + versions.published]
        return succession(source, known)

    def _write_shipped(self, versions: Versions) -> None:
        for version in self._files.versions:
            policy = version.policy
            versions.shipped.append(KnownVersion(version.start, policy.content_hash))
            versions.contents[policy.content_hash] = policy.content.decode()

    def _tell(self, policy: Policy) -> None:
        """Say once when the state goes by another content of a policy than this worker's file."""
        files = [version.policy for version in self._files.versions if version.policy.name == policy.name]
        key = (policy.name, policy.label)
        if files and key not in self._told:
            self._told.add(key)
            get_logger("stream").warning(
                "the state goes by another version of a policy than the file; to change it: finwatch policy publish",
                policy=policy.name,
                in_force=policy.label,
                file=files[-1].label,
            )


def _read(content: str, name: str) -> Policy:
    """A policy from its content. ``name``: what the error calls it. Raises UnknownPolicy."""
    try:
        return parse_content(content)
    except PolicyError as error:
        raise UnknownPolicy(
            f"the policy {name} was published by another version of finwatch, and this one does not understand "
            f"{error.path} in it; start the version that published it or a later one: it goes on where this one stopped"
        ) from None
