"""Contracts: one declaration gives decoding, columns, checks, encoding and comparison."""

from penstock.contract.checks import validate
from penstock.contract.compat import Changes, compare, unreadable
from penstock.contract.constraints import Check, Constraint, Length, OneOf, Pattern, Range
from penstock.contract.declare import Contract, Digits, Name, Text, born, key
from penstock.contract.decode import Decoded, Failure, decode
from penstock.contract.encode import encode
from penstock.contract.fit import Misfit, fit
from penstock.contract.keys import decode_key, encode_key
from penstock.contract.masks import masked
from penstock.contract.spec import ContractSpec, spec
from penstock.contract.synthetic import synthetic
from penstock.contract.tokens import detokenise
from penstock.contract.types import Field

__all__ = [
    "Changes",
    "Check",
    "Constraint",
    "Contract",
    "ContractSpec",
    "Decoded",
    "Digits",
    "Failure",
    "Field",
    "Length",
    "Misfit",
    "Name",
    "OneOf",
    "Pattern",
    "Range",
    "Text",
    "born",
    "compare",
    "decode",
    "decode_key",
    "detokenise",
    "encode",
    "encode_key",
    "fit",
    "key",
    "masked",
    "spec",
    "synthetic",
    "unreadable",
    "validate",
]
