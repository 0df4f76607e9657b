"""A simulated Odoo: a real HTTP server that answers `/jsonrpc` as Odoo 17 and 18 do, and `/json/2` as 19 is said to.

Owns: the dialects (values, errors, domains), a small transactional record store with Odoo's habits
(write_date is the start of the transaction, tracking rows, numbers that are used again, deletions that leave
nothing), rows captured from real servers, and a generated company with labelled anomalies. Rules and their
evidence: docs of Odoo's observed behaviour are named in the docstrings of the modules.

Does not own: anything the product needs at a real Odoo. No other package imports this one, apart from
`finwatch.local`, `finwatch.cli` and tests. Labels of anomalies never leave through the server.

Three lines are enough to use it:

    company = Company(seed=7, start=datetime(2026, 10, 5, tzinfo=UTC), weeks=4, version="18.0")
    with SimulatedOdoo(company.db) as odoo:              # odoo.url, odoo.port; login svc_cdc / svc_cdc, database "sim"
        company.advance(company.start + timedelta(days=3))
"""

from finwatch.sim.captured import captured
from finwatch.sim.company import Company
from finwatch.sim.faults import Faults
from finwatch.sim.labels import Label, LabelKind
from finwatch.sim.server import SimulatedOdoo
from finwatch.sim.store import Database, SerializationFailure, Transaction
from finwatch.sim.studio import customise
from finwatch.sim.users import User

__all__ = [
    "Company",
    "Database",
    "Faults",
    "Label",
    "LabelKind",
    "SerializationFailure",
    "SimulatedOdoo",
    "Transaction",
    "User",
    "captured",
    "customise",
]
