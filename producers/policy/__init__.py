"""Policies to the topics, so that every worker and every replay switches at the same place of its input.

Owns: publishing a change on every partition that a stage reads, and knowing what is published. Does not own: what a
policy may say (finwatch.domain.policy), what a stage does with a change (streams.agents.policies).
"""

from producers.policy.publication import Earlier, Published, TopicUnreadable, publish, published

__all__ = ["Earlier", "Published", "TopicUnreadable", "publish", "published"]
