from __future__ import annotations

from typing import Any

from django import forms

from analysis.queries.readings import ANY, arms_of, current_protocol, label_of
from study.models import Study

_COVARIANCES = [("delong", "DeLong"), ("jackknife", "Jackknife"), ("unbiased", "Unbiased U-statistic")]
_RANDOM = [
    ("readers_cases", "new readers and new cases"),
    ("cases", "these readers, new cases"),
    ("readers", "new readers, these cases"),
]


class PlanForm(forms.Form):
    """The parts of an analysis plan that a coordinator chooses."""

    primary = forms.ChoiceField(label="Primary endpoint", help_text="AUC for this; the other findings are secondary.")
    reference_arm = forms.ChoiceField(label="Reference arm", help_text="The other arms are compared with it.")
    random = forms.ChoiceField(label="The conclusion should hold for", choices=_RANDOM)
    covariance = forms.ChoiceField(label="Covariances of the AUCs", choices=_COVARIANCES)
    alpha = forms.FloatField(label="Alpha (two-sided)", min_value=0.001, max_value=0.4)
    margin = forms.FloatField(
        label="Non-inferiority margin",
        required=False,
        min_value=0.001,
        max_value=0.5,
        help_text="In AUC; may stay empty.",
    )
    threshold = forms.TypedChoiceField(
        label="A finding counts as called present from confidence",
        coerce=int,
        choices=[(step, str(step)) for step in (2, 3, 4, 5)],
        help_text="For the table of changed decisions only.",
    )

    def __init__(self, study: Study, body: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, initial=body, **kwargs)
        self._body = body
        self._findings = list(current_protocol(study).body["findings"])
        choices = [(name, label_of(name).capitalize() if name == ANY else name) for name in [ANY, *self._findings]]
        self.fields["primary"].choices = choices
        self.fields["reference_arm"].choices = [(arm.key, arm.name) for arm in arms_of(study)]

    def body(self) -> dict[str, Any]:
        """The whole plan with what was chosen; every endpoint that is not primary is secondary."""
        chosen = {**self._body, **self.cleaned_data}
        everything = [ANY, *self._findings]
        return {**chosen, "secondary": [name for name in everything if name != chosen["primary"]]}
