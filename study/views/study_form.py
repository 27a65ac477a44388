"""The form a coordinator makes a study with. It only gathers; `create_study` decides."""

from __future__ import annotations

import secrets
from typing import Any

from django import forms
from django.db import transaction
from django.utils.text import slugify

from gazex.findings import FINDINGS, PHANTOM_FINDINGS
from study import registries
from study.models import Case, Membership, ProtocolVersion, Study, User
from study.planning import shuffled
from study.queries.studies import STAFF, cases_visible_to, readable_cases, studies_visible_to
from study.services import studies
from study.services.protocol_body import CALIBRATION, CALIBRATION_POINTS, DRIFT_KEYS

RESEARCHER: Any = Membership.Role.RESEARCHER


class StudyForm(forms.Form):
    name = forms.CharField(max_length=200)
    slug = forms.SlugField(
        max_length=50,
        required=False,
        label="Short name",
        help_text="Used in addresses; made from the name if left empty.",
    )
    kind = forms.ChoiceField(
        choices=[
            (Study.Kind.COMPARISON, "Comparison: each case unassisted and with GazeX, in two periods"),
            (Study.Kind.COLLECTION, "Collection of gaze: each case once, unassisted"),
        ],
        widget=forms.RadioSelect,
        initial=Study.Kind.COMPARISON,
    )
    findings = forms.MultipleChoiceField(
        choices=[(finding, finding) for finding in FINDINGS],
        widget=forms.CheckboxSelectMultiple,
        initial=list(PHANTOM_FINDINGS),
        help_text="What readers answer for every case.",
    )
    source = forms.ChoiceField(
        label="Cases",
        choices=[("", "All"), *[(value, f"{label} only") for value, label in Case.Source.choices]],
        required=False,
    )
    count = forms.IntegerField(
        label="How many cases",
        min_value=1,
        max_value=100_000,
        required=False,
        help_text="Drawn at random from those above; empty takes all of them.",
    )
    readers = forms.ModelMultipleChoiceField(
        queryset=User.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="They can be added until the study opens.",
    )
    gaze = forms.ChoiceField(
        label="Gaze recording",
        choices=[
            ("required", "Required: a read needs a calibrated eye tracker and the reader's consent"),
            ("optional", "Optional: recorded for readers who consent"),
            ("none", "None"),
        ],
        widget=forms.RadioSelect,
        initial="required",
    )
    max_accuracy_deg = forms.FloatField(
        label="Calibration: accuracy in degrees",
        min_value=0.1,
        max_value=10,
        initial=CALIBRATION["max_accuracy_deg"],
        required=False,
        help_text="The mean error at five validation points may be this large; at 65 cm, 1° is 11 mm on the display.",
    )
    max_data_loss = forms.FloatField(
        label="Calibration: samples lost in percent",
        min_value=1,
        max_value=100,
        initial=100 * CALIBRATION["max_data_loss"],
        required=False,
        help_text="So many of the samples may be lost while the points are looked at.",
    )
    points = forms.TypedChoiceField(
        label="Calibration points",
        coerce=int,
        choices=[(5, "5, ten seconds"), (9, "9, sixteen seconds; also corrects curved errors")],
        initial=9,
        empty_value=CALIBRATION_POINTS[0],
        required=False,
    )
    drift_every_cases = forms.IntegerField(
        label="Drift check after how many cases",
        min_value=1,
        max_value=1000,
        required=False,
        help_text="One point is looked at for two seconds before the next case opens. Empty: never.",
    )
    drift_every_minutes = forms.IntegerField(
        label="Drift check after how many minutes",
        min_value=1,
        max_value=1000,
        required=False,
        help_text="Whichever comes first. Empty: never.",
    )
    max_drift_deg = forms.FloatField(
        label="Largest drift in degrees",
        min_value=0.1,
        max_value=10,
        required=False,
        help_text="Beyond it the reader calibrates again. Empty: as large as the accuracy above.",
    )
    washout_days = forms.IntegerField(
        label="Washout in days",
        min_value=0,
        max_value=3650,
        initial=28,
        help_text="Between a reader's first and second period. Comparisons only.",
    )
    model = forms.ChoiceField(
        label="GazeX model", choices=[], required=False, help_text="The frozen model that assists. Comparisons only."
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        self.user = user
        people = self.fields["readers"]
        assert isinstance(people, forms.ModelMultipleChoiceField)
        people.queryset = User.objects.filter(is_active=True).exclude(pk=user.pk).order_by("username")
        models = self.fields["model"]
        assert isinstance(models, forms.ChoiceField)
        models.choices = _models(user) or [("", "No model is ready yet")]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not data.get("slug") and data.get("name"):
            data["slug"] = slugify(data["name"])[:50].strip("-")
        if data.get("kind") == Study.Kind.COMPARISON and not data.get("model"):
            self.add_error("model", "A comparison needs the GazeX model that assists; train or register one first.")
        return data

    @transaction.atomic
    def save(self) -> Study:
        """Create the draft and enrol its readers; all of it or none."""
        data = self.cleaned_data
        seed = secrets.randbelow(2**31)
        if data["kind"] == Study.Kind.COMPARISON:
            body = studies.comparison_body(
                findings=data["findings"],
                model_sha256=data["model"],
                gaze=data["gaze"],
                calibration=self._calibration(),
                washout_days=data["washout_days"],
                seed=seed,
            )
        else:
            body = studies.collection_body(
                findings=data["findings"], gaze=data["gaze"], calibration=self._calibration(), seed=seed
            )
        study = studies.create_study(
            name=data["name"],
            slug=data["slug"],
            kind=data["kind"],
            body=body,
            cases=self._cases(seed),
            actor=self.user,
        )
        for number, reader in enumerate(data["readers"], start=1):
            studies.enrol(study=study, user=reader, reader_code=f"R{number:02d}", actor=self.user)
        return study

    def _calibration(self) -> dict[str, Any]:
        """What the protocol says of calibration; a key that was left empty is left out."""
        data = self.cleaned_data
        told = {name: data.get(name) for name in ("max_accuracy_deg", "points", "max_drift_deg", *DRIFT_KEYS)}
        told["max_data_loss"] = data["max_data_loss"] / 100 if data.get("max_data_loss") else None
        if not any(told[name] for name in DRIFT_KEYS):
            told["max_drift_deg"] = None
        return CALIBRATION | {name: value for name, value in told.items() if value is not None}

    def _cases(self, seed: int) -> list[Case]:
        cases = cases_visible_to(self.user).filter(pk__in=readable_cases())
        if self.cleaned_data["source"]:
            cases = cases.filter(source=self.cleaned_data["source"])
        by_label = {case.label: case for case in cases}
        drawn = shuffled(list(by_label), seed, "drawn")[: self.cleaned_data["count"] or None]
        return [by_label[label] for label in drawn]


def _models(user: User) -> list[tuple[str, str]]:
    """(sha256, label) of the models on offer: those the room above names, and those of studies this person runs."""
    offered: dict[str, str] = {}
    for name in registries.assisting_models:
        offered.update({sha256: label for label, sha256 in name(user)})
    mine = ProtocolVersion.objects.filter(study__in=studies_visible_to(user, *STAFF))
    # The whole body is read: SQLite gives a text of digits in a JSON key back as a number.
    for body in mine.order_by("study__slug", "number").values_list("body", flat=True):
        if sha256 := body.get("model_sha256"):
            offered.setdefault(sha256, f"Model {sha256[:12]}…")
    return list(offered.items())


class EnrolForm(forms.Form):
    """One more reader for a draft. Its coordinators and researchers are left out: their pages show the truth."""

    user = forms.ModelChoiceField(queryset=User.objects.none(), label="Reader", empty_label="Choose a person")

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = self.fields["user"]
        assert isinstance(people, forms.ModelChoiceField)
        people.queryset = (
            User.objects.filter(is_active=True)
            .exclude(enrolments__study=study)
            .exclude(pk__in=User.objects.filter(memberships__study=study, memberships__role__in=STAFF))
            .order_by("username")
        )


class ResearcherForm(forms.Form):
    """Someone who works with the study's data. Its readers are left out: a researcher's pages show the truth."""

    user = forms.ModelChoiceField(queryset=User.objects.none(), label="Researcher", empty_label="Choose a person")

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="id_researcher_%s", **kwargs)
        people = self.fields["user"]
        assert isinstance(people, forms.ModelChoiceField)
        people.queryset = (
            User.objects.filter(is_active=True)
            .exclude(enrolments__study=study)
            .exclude(pk__in=User.objects.filter(memberships__study=study, memberships__role=RESEARCHER))
            .order_by("username")
        )


def next_code(study: Study) -> str:
    """The first reader code of the form R01, R02 … that is free."""
    taken = set(study.enrolments.values_list("reader_code", flat=True))
    return next(code for n in range(1, 10_000) if (code := f"R{n:02d}") not in taken)
