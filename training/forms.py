from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from study.models import Case, Study
from training.models import DatasetRelease, ModelVersion
from training.services.running import MAX_STEPS


class ReleaseForm(forms.Form):
    name = forms.CharField(max_length=80, label="Name of the release")


class RunForm(forms.Form):
    release = forms.ModelChoiceField(queryset=DatasetRelease.objects.none(), empty_label=None)
    base = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), empty_label=None, label="Start from")
    steps = forms.IntegerField(min_value=1, max_value=MAX_STEPS, initial=200, label="Training steps")

    def __init__(
        self, *args: Any, releases: QuerySet[DatasetRelease], versions: QuerySet[ModelVersion], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["release"].queryset = releases
        self.fields["base"].queryset = versions
        self.fields["base"].label_from_instance = lambda version: version.label


class TryForm(forms.Form):
    case = forms.ModelChoiceField(queryset=Case.objects.none(), empty_label=None)

    def __init__(self, *args: Any, cases: QuerySet[Case], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["case"].queryset = cases


class StudyForm(forms.Form):
    study = forms.ModelChoiceField(queryset=Study.objects.none(), empty_label=None)

    def __init__(self, *args: Any, studies: QuerySet[Study], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["study"].queryset = studies


class CompareForm(forms.Form):
    a = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), empty_label=None, label="Compare")
    b = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), empty_label=None, label="with")

    def __init__(self, *args: Any, versions: QuerySet[ModelVersion], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["a"].queryset = versions
        self.fields["b"].queryset = versions


def first_error(form: forms.Form) -> str:
    """What is wrong with a form, as one sentence."""
    field, errors = next(iter(form.errors.items()))
    label = form.fields[field].label or field.capitalize() if field in form.fields else "The form"
    return f"{label}: {errors[0]}"
