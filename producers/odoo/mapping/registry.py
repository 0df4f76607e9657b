"""The models of one capture: those that come with finwatch, with what a configuration adds or leaves out."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from producers.odoo.mapping.spec import Child, Mapping


@dataclass(frozen=True)
class Mappings:
    """Mappings in the order of the snapshot, each model once. `off`: models that a configuration switched off."""

    all: tuple[Mapping, ...]
    off: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self.all)

    def __contains__(self, model: object) -> bool:
        return model in self.by_model

    def __getitem__(self, model: str) -> Mapping:
        """The mapping of a model. Raises KeyError."""
        return self.by_model[model]

    def having(self, mapping: Mapping) -> "Mappings":
        """These, with another mapping of a model."""
        return Mappings(tuple(mapping if one.model == mapping.model else one for one in self.all), self.off)

    @cached_property
    def by_model(self) -> dict[str, Mapping]:
        """Mappings by their model."""
        return {mapping.model: mapping for mapping in self.all}

    @cached_property
    def by_child(self) -> dict[str, list[tuple[Mapping, Child]]]:
        """Whose lines the rows of a model are: mappings with the child, by the child's model."""
        found: dict[str, list[tuple[Mapping, Child]]] = {}
        for mapping in self.all:
            for child in mapping.children:
                found.setdefault(child.model, []).append((mapping, child))
        return found
