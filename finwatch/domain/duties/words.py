"""Duties in words, as a finding says them of one person."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "request_order": "requested the order",
    "approve_order": "approved the order",
    "receive_goods": "recorded the receipt",
    "enter_bill": "entered the bill",
    "approve_bill": "approved the bill",
    "release_payment": "released the payment",
    "reconcile_payment": "matched the payment with the bank",
    "maintain_bank": "changed the vendor's bank account",
    "maintain_vendor": "made or changed the vendor",
}
