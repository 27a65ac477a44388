from __future__ import annotations

from typing import Any

from django import forms

from analysis.queries.readings import ANY, arms_of, current_protocol, label_of
from analysis.services import plan_body
from study.models import Study
from study.services.errors import Refused

#: Figures of merit that can be secondary, in the order of a fixed sequence.
_SECONDARY = [
    ("auc", "AUC of every other finding"),
    ("sensitivity", "sensitivity for the primary finding, from the confidence below"),
    ("specificity", "specificity for the primary finding, likewise"),
    ("partial_auc", "partial AUC for the primary finding, at specificity 0.8 or more"),
    ("wafroc", "wAFROC for the primary finding: marks at the right place"),
    ("time", "reading time"),
]


def _choices(words: dict[str, str]) -> list[tuple[str, str]]:
    return [(key, value[:1].upper() + value[1:]) for key, value in words.items()]


class PlanForm(forms.Form):
    """The parts of an analysis plan that a coordinator chooses. ``MAIN`` stands open, the rest is folded away."""

    MAIN = ("finding", "fom", "hypothesis", "margin")

    finding = forms.ChoiceField(label="Primary endpoint", help_text="What readers decide about a case.")
    fom = forms.ChoiceField(
        label="Measured by",
        choices=[
            ("auc", "AUC: how well confidence separates cases with and without it"),
            ("sensitivity", "Sensitivity: called present where it is"),
            ("specificity", "Specificity: not called present where it is not"),
            ("partial_auc", "Partial AUC: the same where specificity is 0.8 or more"),
            ("wafroc", "wAFROC: marked at the right place, with few marks elsewhere"),
            ("time", "Reading time"),
        ],
    )
    hypothesis = forms.ChoiceField(
        label="Against the reference arm, readers shall be",
        choices=[
            ("superiority", "better (superiority)"),
            ("noninferiority", "not worse by more than the margin (non-inferiority)"),
            ("equivalence", "neither better nor worse by more than the margin (equivalence)"),
        ],
    )
    margin = forms.FloatField(
        label="Margin",
        required=False,
        min_value=0.001,
        max_value=0.5,
        help_text="In units of the measure, such as 0.05; for superiority it stays empty.",
    )
    secondary = forms.MultipleChoiceField(
        label="Secondary endpoints", choices=_SECONDARY, required=False, widget=forms.CheckboxSelectMultiple
    )
    multiplicity = forms.ChoiceField(
        label="Secondary p-values are adjusted by", choices=_choices(plan_body.MULTIPLICITY)
    )
    subgroups = forms.MultipleChoiceField(
        label="Subgroups of cases, exploratory",
        choices=_choices(plan_body.SUBGROUPS),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    random = forms.ChoiceField(label="The conclusion should hold for", choices=_choices(plan_body.RANDOM))
    covariance = forms.ChoiceField(label="Covariances", choices=_choices(plan_body.COVARIANCES))
    missing = forms.ChoiceField(
        label="If reads are missing",
        choices=[
            ("available", "Use every read that was submitted"),
            ("complete", "Use only cases that every reader read in every arm"),
        ],
    )
    threshold = forms.TypedChoiceField(
        label="A finding counts as called present from confidence",
        coerce=int,
        choices=[(step, str(step)) for step in (2, 3, 4, 5)],
        help_text="For sensitivity, specificity, changed decisions and reliance.",
    )
    alpha = forms.FloatField(
        label="Alpha (two-sided)",
        min_value=0.001,
        max_value=0.4,
        help_text="One-sided tests of non-inferiority and equivalence use half of it.",
    )
    reference_arm = forms.ChoiceField(label="Reference arm", help_text="The other arms are compared with it.")

    def __init__(self, study: Study, body: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        body = plan_body.complete(body)
        primary = body["endpoints"][0]
        initial = {
            **{name: body[name] for name in plan_body.KEYS if name != "endpoints"},
            **{name: primary[name] for name in self.MAIN},
            "secondary": list(dict.fromkeys(found["fom"] for found in body["endpoints"][1:])),
        }
        super().__init__(*args, initial=initial, **kwargs)
        self._findings = [ANY, *current_protocol(study).body["findings"]]
        self.fields["finding"].choices = [
            (name, label_of(name).capitalize() if name == ANY else name) for name in self._findings
        ]
        self.fields["reference_arm"].choices = [(arm.key, arm.name) for arm in arms_of(study)]

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MAIN]

    @property
    def folded(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.MAIN]

    @property
    def folded_errors(self) -> bool:
        return any(name not in self.MAIN for name in self.errors)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        needs = cleaned.get("hypothesis") in ("noninferiority", "equivalence")
        if needs and cleaned.get("fom") == "time":
            self.add_error("hypothesis", "Reading time is compared for superiority only.")
        elif needs and cleaned.get("margin") is None and "margin" not in self.errors:
            self.add_error("margin", "Write the margin, such as 0.05.")
        elif not needs and cleaned.get("margin") is not None:
            self.add_error("margin", "Superiority has no margin; leave it empty.")
        if not self.errors:
            arms = [key for key, _ in self.fields["reference_arm"].choices]
            try:
                plan_body.check(self.body(), findings=self._findings, arms=arms)
            except Refused as refused:
                self.add_error(None, refused.sentence)
        return cleaned

    def body(self) -> dict[str, Any]:
        """The whole plan as it was chosen."""
        chosen = self.cleaned_data
        finding = ANY if chosen["fom"] == "time" else chosen["finding"]
        margin = None if chosen["hypothesis"] == "superiority" else chosen["margin"]
        endpoints = [plan_body.endpoint(finding, chosen["fom"], "primary", chosen["hypothesis"], margin)]
        for fom, _ in _SECONDARY:
            if fom not in chosen["secondary"]:
                continue
            if fom == "auc":
                endpoints += [plan_body.endpoint(name) for name in self._findings]
            else:
                endpoints.append(plan_body.endpoint(finding, fom))
        kept: dict[str, dict[str, Any]] = {}
        for found in endpoints:
            kept.setdefault(plan_body.key_of(found), found)
        rest = {name: chosen[name] for name in plan_body.KEYS if name != "endpoints"}
        return {"endpoints": list(kept.values()), **rest}
