"""What the matching of orders, receipts and bills goes by."""

from __future__ import annotations

from decimal import Decimal

from msgspec import field

from finwatch.domain.policy.handling import Handling
from finwatch.domain.policy.section import PolicyError, Section, Severity, parse_duration


class Tolerance(Section, frozen=True):
    """What may differ, for some vendors, products and categories of products; the first that fits a line counts.

    ``vendors`` and ``products`` are ids in the source, none: all. ``categories`` are ids of the product's own category,
    or names as the source prints them with those above ("All / Steel"), which mean the categories under them too; none:
    all. A price may differ by the larger of ``price_absolute`` (a unit of the order line's measure, in the order's
    currency) and ``price_percent``, a quantity by ``quantity_percent`` of what was ordered.
    """

    name: str
    vendors: list[str] = []
    products: list[str] = []
    price_absolute: Decimal = Decimal("0.01")
    price_percent: Decimal = Decimal(2)
    quantity_percent: Decimal = Decimal(0)
    categories: list[str] = []

    def fits(self, vendor: str | None, product: str | None, category: str | None, name: str | None) -> bool:
        """Whether it is meant for this vendor's line of this product, which is of this category of that name."""
        return (
            (not self.vendors or vendor in self.vendors)
            and (not self.products or product in self.products)
            and (not self.categories or category in self.categories or _is_under(name, self.categories))
        )


def _is_under(name: str | None, categories: list[str]) -> bool:
    """Whether a category is one of those that are named, or under one."""
    return name is not None and any(name == one or name.startswith(f"{one} / ") for one in categories)


def _handling() -> dict[str, Handling]:
    def how(severity: Severity, owner: str, days: int, next_action: str) -> Handling:
        return Handling(severity, owner, next_action, service_level=f"{days} business days")

    return {
        "price_above_order": how(
            "high", "procurement", 3, "Hold the payment; ask the vendor for a credit note, or have the price approved."
        ),
        "price_below_order": how("low", "procurement", 5, "Check that the bill is for what was ordered."),
        "over_billed": how("high", "procurement", 3, "Ask the vendor for a credit note, or change the order."),
        "over_received": how("medium", "warehouse", 5, "Return the surplus, or change the order."),
        "billed_before_receipt": how("high", "procurement", 5, "Hold the payment until the goods are received."),
        "paid_before_receipt": how("high", "procurement", 5, "Find out when the goods come; tell the vendor."),
        "billed_after_return": how(
            "high", "procurement", 3, "Hold the payment; ask the vendor for a credit note for what went back."
        ),
        "return_not_credited": how("medium", "procurement", 5, "Ask the vendor for the credit note, or new goods."),
        "unordered_line": how("medium", "procurement", 5, "Have the line approved, or ask for a credit note."),
        "billed_cancelled_order": how("high", "procurement", 2, "Refuse the bill, or have the purchase approved."),
        "vendor_mismatch": how(
            "high", "procurement", 2, "Hold the payment; ask the order's vendor whether the other bills for it."
        ),
        "tax_mismatch": how(
            "medium", "accounts_payable", 3, "Correct the bill's taxes, or ask the vendor for another bill."
        ),
        "not_comparable": how("info", "procurement", 5, "Record how the units convert, then the lines are compared."),
    }


class MatchingSection(Section, frozen=True):
    """Settings of the matching.

    ``tolerances``: by vendor, product and its category, the first that fits; the last resort is ``default``.
    ``apart_products`` and ``apart_accounts``: lines of freight, tax and rounding that no order line is expected for;
    other lines without one may come to the larger of ``unordered_absolute`` (the bill's currency) and
    ``unordered_percent`` of the bill's net. ``units``: how many of another unit are one of a unit, by names as the
    source prints them, where the source's own conversions (orders and receipts are told in the product's unit too) do
    not say it. ``alike_taxes``: groups of taxes, by their ids in the source, that may stand for each other (the same
    rate on goods and on services). ``draft_bills``: a draft counts as billed, as in Odoo's own counters.
    ``receipt_grace``: how long a bill may wait for its receipt, from when it bills; ``refund_grace``: how long goods
    that went back may wait for the credit note. ``handling``: by rule, where it differs from the defaults.
    """

    default: Tolerance = field(default_factory=lambda: Tolerance("default"))
    tolerances: list[Tolerance] = []
    apart_products: list[str] = []
    apart_accounts: list[str] = []
    unordered_absolute: Decimal = Decimal(100)
    unordered_percent: Decimal = Decimal(5)
    units: dict[str, dict[str, Decimal]] = {}
    alike_taxes: list[list[str]] = []
    draft_bills: bool = True
    receipt_grace: str = "2 business days"  # the bill often comes with the goods, and the receipt is recorded after it
    refund_grace: str = "10 business days"
    handling: dict[str, Handling] = {}

    def check(self, path: str) -> None:
        """Raise PolicyError for negative tolerances, units that convert to nothing, and unknown rules."""
        for i, tolerance in enumerate((self.default, *self.tolerances)):
            where = f"{path}.default" if i == 0 else f"{path}.tolerances[{i - 1}]"
            if min(tolerance.price_absolute, tolerance.price_percent, tolerance.quantity_percent) < 0:
                raise PolicyError(where, "a tolerance is not negative")
        if min(self.unordered_absolute, self.unordered_percent) < 0:
            raise PolicyError(f"{path}.unordered_absolute", "a tolerance is not negative")
        for unit, others in self.units.items():
            for other, factor in others.items():
                if factor <= 0:
                    raise PolicyError(f"{path}.units.{unit}.{other}", "how many of it are one, more than 0")
        for i, group in enumerate(self.alike_taxes):
            if len(group) < 2:
                raise PolicyError(f"{path}.alike_taxes[{i}]", "at least two taxes are alike")
        parse_duration(self.receipt_grace, f"{path}.receipt_grace")
        parse_duration(self.refund_grace, f"{path}.refund_grace")
        check_handling(self.handling, MATCHING_HANDLING, path)

    def tolerance(
        self, vendor: str | None, product: str | None, category: str | None, name: str | None = None
    ) -> Tolerance:
        """What may differ on a line."""
        if not self.tolerances:
            return self.default
        return next((one for one in self.tolerances if one.fits(vendor, product, category, name)), self.default)

    def handled(self) -> dict[str, Handling]:
        """Handling of every rule."""
        return {**MATCHING_HANDLING, **self.handling}


def check_handling(given: dict[str, Handling], known: dict[str, Handling], path: str) -> None:
    """Raise PolicyError for a rule that there is not, and a service level that is no duration."""
    for name, how in given.items():
        if name not in known:
            raise PolicyError(f"{path}.handling.{name}", f"no such rule; known: {', '.join(sorted(known))}")
        parse_duration(how.service_level, f"{path}.handling.{name}.service_level")


MATCHING_HANDLING = _handling()
