"""The ledger of requests: one SQLite file, append-only and hash-chained, that holds keyed hashes alone."""

from expunge.ledger.chains import ChainTotal, compute_chain_totals, find_openings, request_chains
from expunge.ledger.entry import BudgetRecord, Content, Header, LedgerEntry, ModelHashes, RequestRecord
from expunge.ledger.forgotten_hashes import ForgottenHashes, pack_hash_prefixes, unpack_hash_prefixes
from expunge.ledger.ledger import Ledger
from expunge.ledger.lookup import (
    check_not_served,
    find_ancestors,
    find_earlier_requests,
    find_served,
    make_not_served_check,
)
from expunge.ledger.verify import Verification

__all__ = [
    "BudgetRecord",
    "ChainTotal",
    "Content",
    "ForgottenHashes",
    "Header",
    "Ledger",
    "LedgerEntry",
    "ModelHashes",
    "RequestRecord",
    "Verification",
    "check_not_served",
    "compute_chain_totals",
    "find_ancestors",
    "find_earlier_requests",
    "find_openings",
    "find_served",
    "make_not_served_check",
    "pack_hash_prefixes",
    "request_chains",
    "unpack_hash_prefixes",
]
