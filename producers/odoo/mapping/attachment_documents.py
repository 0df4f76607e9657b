"""documents.document of Enterprise's Documents app: which file belongs to which record. Contents are not read."""

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, integer, ref, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A file or folder."""
    body = {
        "name": text(row, "name"),
        "kind": text(row, "type"),
        "mime_type": text(row, "mimetype"),
        "size": integer(row, "file_size"),
        "folder_id": ref(row, "folder_id"),
        "owner": ref(row, "owner_id"),
        "partner_id": ref(row, "partner_id"),
        "locked_by": ref(row, "lock_uid"),
        "model": text(row, "res_model"),
        "about_id": _about(row),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("attachment_document", ref(row, "company_id"), body)


def _about(row: Row) -> str | None:
    """Record it belongs to; a file of its own has 0 or itself."""
    found = ref(row, "res_id")
    return None if found in (None, "0") or row.get("res_model") == "documents.document" else found


MAPPING = Mapping(
    model="documents.document",
    entities=("attachment_document",),
    fields=Fields(
        (
            "name",
            "type",
            "mimetype",
            "file_size",
            "folder_id",
            "owner_id",
            "partner_id",
            "lock_uid",
            "res_model",
            "res_id",
            "active",
            "company_id",
            *STAMPS,
        )
    ),
    context={"active_test": False},
    map=document,
)
