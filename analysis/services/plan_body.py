"""What an analysis plan may say: its shape, what an older plan meant, and its checks, one sentence for each fault.

A body is::

    {"endpoints": [{"finding": "any" | finding, "fom": one of FOMS, "role": "primary" | "secondary",
                    "hypothesis": "superiority" | "noninferiority" | "equivalence", "margin": float | None}, …],
     "covariance": "delong" | "jackknife" | "unbiased" | "ustat", "random": "readers_cases" | "cases" | "readers",
     "alpha": float, "reference_arm": arm key, "threshold": 2–5, "multiplicity": one of MULTIPLICITY,
     "subgroups": [of SUBGROUPS], "missing": "available" | "complete"}

Exactly one endpoint is primary, and it comes first. A plan that was locked before this shape says the same with the
keys ``primary``, ``secondary``, ``fom`` and ``margin``; :func:`complete` reads both, and nothing else has to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.services.errors import Refused

ANY = "any"

#: Figures of merit and what sentences call them.
FOMS: dict[str, str] = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "partial_auc": "partial AUC (specificity from 0.8)",
    "wafroc": "wAFROC",
    "time": "reading time",
}
HYPOTHESES: dict[str, str] = {
    "superiority": "superiority",
    "noninferiority": "non-inferiority",
    "equivalence": "equivalence",
}
COVARIANCES: dict[str, str] = {
    "delong": "DeLong",
    "jackknife": "jackknife",
    "unbiased": "unbiased U-statistic",
    "ustat": "U-statistic (any design)",
}
RANDOM: dict[str, str] = {
    "readers_cases": "new readers and new cases",
    "cases": "these readers and new cases",
    "readers": "new readers and these cases",
}
MULTIPLICITY: dict[str, str] = {
    "none": "not adjusted",
    "holm": "Holm",
    "hochberg": "Hochberg",
    "fixed_sequence": "fixed sequence, in the order they are listed",
    "benjamini_hochberg": "Benjamini–Hochberg (false discovery rate)",
}
SUBGROUPS: dict[str, str] = {
    "finding": "finding",
    "view": "view",
    "sex": "sex",
    "age": "age",
    "source": "source of the images",
    "modality": "kind of detector",
}
MISSING: dict[str, str] = {
    "available": "every read that was submitted is used; where some are missing, by U-statistics or pairwise",
    "complete": "only cases that every reader read in every arm are used",
}
KEYS = (
    "endpoints", "covariance", "random", "alpha", "reference_arm", "threshold", "multiplicity", "subgroups", "missing",
)  # fmt: skip
_ENDPOINT_KEYS = ("finding", "fom", "role", "hypothesis", "margin")


def endpoint(
    finding: str,
    fom: str = "auc",
    role: str = "secondary",
    hypothesis: str = "superiority",
    margin: float | None = None,
) -> dict[str, Any]:
    return {"finding": finding, "fom": fom, "role": role, "hypothesis": hypothesis, "margin": margin}


def key_of(found: Mapping[str, Any]) -> str:
    """What addresses call an endpoint: the finding for its AUC, the figure of merit before it for the others."""
    if found["fom"] == "auc":
        return str(found["finding"])
    return "time" if found["fom"] == "time" else f"{found['fom']} {found['finding']}"


def complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body in today's shape, whenever it was written: what an older one leaves out is what it meant."""
    body = dict(body)
    rest = {
        "covariance": "delong",
        "random": "readers_cases",
        "alpha": 0.05,
        "threshold": 4,
        "multiplicity": "none",
        "subgroups": [],
        "missing": "available",
    }
    if "endpoints" not in body:
        fom, margin = body.get("fom", "auc"), body.get("margin")
        first = endpoint(body["primary"], fom, "primary", "superiority" if margin is None else "noninferiority", margin)
        body["endpoints"] = [first, *(endpoint(name, fom) for name in body.get("secondary", []))]
    return {key: body.get(key, rest.get(key)) for key in KEYS}


def check(body: Any, *, findings: Sequence[str], arms: Sequence[str]) -> dict[str, Any]:
    """The body with its endpoints in order, the primary one first.

    Raises:
        Refused: a key is missing or unknown, or a value is not one of its choices; the sentence names it.
    """
    if not isinstance(body, dict) or set(body) != set(KEYS):
        wrong = sorted(set(body) ^ set(KEYS)) if isinstance(body, dict) else ["all"]
        raise Refused(f"The analysis plan needs exactly {', '.join(KEYS)}; wrong or missing: {', '.join(wrong)}.")
    choices: dict[str, Sequence[Any]] = {
        "covariance": list(COVARIANCES),
        "random": list(RANDOM),
        "reference_arm": list(arms),
        "threshold": [2, 3, 4, 5],
        "multiplicity": list(MULTIPLICITY),
        "missing": list(MISSING),
    }
    for key, allowed in choices.items():
        _one_of(key, body[key], allowed)
    _number("alpha", body["alpha"], 0.0, 0.5)
    if not isinstance(body["subgroups"], list):
        raise Refused(f"The plan's subgroups are {body['subgroups']!r}; they must be a list.")
    for name in body["subgroups"]:
        _one_of("subgroup", name, list(SUBGROUPS))
    if not isinstance(body["endpoints"], list) or not body["endpoints"]:
        raise Refused("The plan has no endpoints; it needs a primary one.")
    endpoints = [_endpoint(found, [ANY, *findings]) for found in body["endpoints"]]
    primary = [found for found in endpoints if found["role"] == "primary"]
    if len(primary) != 1:
        raise Refused(f"The plan has {len(primary)} primary endpoints; it needs exactly one.")
    if body["covariance"] == "ustat" and body["random"] != "readers_cases":
        raise Refused(
            "The U-statistic analysis takes readers and cases as random; choose another covariance where one is fixed."
        )
    if body["covariance"] in ("unbiased", "ustat") and any(found["fom"] == "partial_auc" for found in endpoints):
        raise Refused("A partial AUC has no unbiased or U-statistic covariance; choose DeLong or jackknife.")
    endpoints.sort(key=lambda found: found["role"] != "primary")
    kept = {key_of(found): found for found in reversed(endpoints)}
    return {
        **body,
        "endpoints": [found for found in endpoints if kept[key_of(found)] is found],
        "subgroups": [name for name in SUBGROUPS if name in body["subgroups"]],
    }


def _endpoint(found: Any, findings: Sequence[str]) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != set(_ENDPOINT_KEYS):
        raise Refused(f"Each of the plan's endpoints needs exactly {', '.join(_ENDPOINT_KEYS)}.")
    _one_of("endpoint's figure of merit", found["fom"], list(FOMS))
    _one_of("endpoint's finding", found["finding"], findings)
    _one_of("endpoint's role", found["role"], ["primary", "secondary"])
    _one_of("endpoint's hypothesis", found["hypothesis"], list(HYPOTHESES))
    if found["fom"] == "time":
        if found["hypothesis"] != "superiority":
            raise Refused("Reading time is compared for superiority only; its ratio has no margin here.")
        found = {**found, "finding": ANY}
    if found["hypothesis"] == "superiority":
        return {**found, "margin": None}
    if found["margin"] is None:
        raise Refused(f"The endpoint asks for {HYPOTHESES[found['hypothesis']]}, which needs a margin.")
    _number("margin", found["margin"], 0.0, 1.0)
    return dict(found)


def _one_of(key: str, value: Any, allowed: Sequence[Any]) -> None:
    if isinstance(value, bool) or value not in allowed:
        raise Refused(f"The plan's {key} is {value!r}; it must be one of {', '.join(map(str, allowed))}.")


def _number(key: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        raise Refused(f"The plan's {key} is {value!r}; it must be a number between {low:g} and {high:g}.")
