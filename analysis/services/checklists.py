"""Reporting checklists, filled from what is stored of a study. What is not stored is named as missing, never made up.

The items are data (``analysis/checklists/*.toml``): an item names the function here that answers it, or what the site
does not record. A function returns an empty string where this study has nothing to answer with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from analysis.queries.facts import Facts

from . import plan_body
from .reporting import (
    Numbers,
    arm_names,
    deviations,
    endpoint_sentences,
    endpoint_words,
    plan_words,
    primary,
    time_sentences,
)

FOLDER = Path(__file__).resolve().parents[1] / "checklists"
NOT_RECORDED = "Not recorded by the platform: "


@dataclass(frozen=True)
class Row:
    """One item: what is asked, and the answer or what is missing. ``answered`` is False where nothing is known."""

    id: str
    asks: str
    words: str
    answered: bool


@dataclass(frozen=True)
class Filled:
    name: str
    source: str
    rows: tuple[Row, ...]

    @property
    def answered(self) -> int:
        return sum(row.answered for row in self.rows)


@cache
def _checklists() -> tuple[dict[str, Any], ...]:
    read = [tomllib.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.toml")]
    return tuple(sorted(read, key=lambda checklist: checklist["order"]))


def filled(numbers: Numbers, facts: Facts) -> list[Filled]:
    """Every checklist for a readable result."""
    return [
        Filled(checklist["name"], checklist["source"], tuple(_row(item, numbers, facts) for item in checklist["item"]))
        for checklist in _checklists()
    ]


def _row(item: dict[str, str], numbers: Numbers, facts: Facts) -> Row:
    answer = FILLS[item["fill"]](numbers, facts) if "fill" in item else ""
    missing = item.get("missing") or item.get("also")
    if answer:
        also = item.get("also")
        return Row(item["id"], item["asks"], answer + (f" {_lacks(also)}" if also else ""), True)
    return Row(item["id"], item["asks"], _lacks(missing or MISSING[item["fill"]]), False)


def _lacks(what: str) -> str:
    """What is missing, as a sentence; some of it the platform knows, but elsewhere."""
    elsewhere = "in this report: "
    if what.startswith(elsewhere):
        return f"Not in this report: {what.removeprefix(elsewhere)}."
    return f"{NOT_RECORDED}{what}."


#: What is named as missing where a function finds nothing in this study.
MISSING = {
    "acquisition": "views and detectors of these images",
    "boxes": "the place of the findings",
    "demographics": "sex and age of these patients",
    "fairness": "groups of patients by sex or age, in whom to compare",
    "failures": "an analysis of reads where GazeX was wrong; see why under Reliance on GazeX",
    "hit_rule": "the place of the findings",
    "learning": "change over time, which the time model could not separate",
    "reference_standard": "how the truth was come by",
    "reliance": "reliance on GazeX; see why under that heading",
    "sensitivity_analyses": "any; the plan names no subgroups",
    "sensitivity_specificity": "sensitivity and specificity; the plan does not ask for them",
    "standalone": "GazeX alone; see why under that heading",
    "subgroups": "subgroups in which the cases differ",
    "uncertainty": "the method; the primary endpoint could not be analysed",
    "each_reader": "each reader's results; the primary endpoint could not be analysed",
    "scores": "the distribution of answers for this endpoint",
    "missing_data": "counts of missing reads in a result of an earlier version",
    "flow": "the flow of reads in a result of an earlier version",
    "model": "the model",
    "frozen": "the model",
    "plan_locked": "when the plan was locked",
    "prospective_reading": "when the study opened and closed",
}

Fill = Callable[[Numbers, Facts], str]
#: The functions that answer items, by the name that a checklist calls them.
FILLS: dict[str, Fill] = {}


def _answers(function: Fill) -> Fill:
    """Let checklists name the function, without its underscore."""
    FILLS[function.__name__.removeprefix("_")] = function
    return function


@_answers
def _study_of_ai(numbers: Numbers, facts: Facts) -> str:
    return (
        f"“{numbers['study']['name']}”: a reader study with and without GazeX, a vision-language model, on chest "
        "X-rays. See Summary."
    )


@_answers
def _hypothesis(numbers: Numbers, facts: Facts) -> str:
    words = dict(plan_words(numbers["plan"], arm_names(numbers)))
    return (
        f"Primary endpoint: {words['Primary endpoint']}. Secondary: {words['Secondary endpoints']}. See Analysis plan."
    )


@_answers
def _prospective_reading(numbers: Numbers, facts: Facts) -> str:
    return (
        f"The images and their truth were there before; the reading was planned before it began (opened "
        f"{facts.opened}, closed {facts.closed})."
        if facts.opened and facts.closed
        else ""
    )


@_answers
def _goal(numbers: Numbers, facts: Facts) -> str:
    first = numbers["plan"]["endpoints"][0]
    aim = plan_body.HYPOTHESES[first["hypothesis"]]
    return f"To compare readers with and without GazeX by {endpoint_words(first)} ({aim})."


@_answers
def _data_sources(numbers: Numbers, facts: Facts) -> str:
    return f"{facts.cases} cases of {facts.patients} patients, imported as: {facts.sources}."


@_answers
def _preprocessing(numbers: Numbers, facts: Facts) -> str:
    return (
        "Each image is decoded once at import (modality LUT, photometric interpretation) and kept as a 16-bit frame; "
        "window and zoom are the reader’s."
    )


@_answers
def _shown_image(numbers: Numbers, facts: Facts) -> str:
    return "Of each case its first frontal image is read, else its first."


@_answers
def _deidentification(numbers: Numbers, facts: Facts) -> str:
    return (
        "By a keep-list at import (DICOM PS3.15 Basic Profile; age up to 90 years and sex retained); patients, cases "
        "and readers have pseudonyms. Pixels are not cleaned."
    )


@_answers
def _missing_data(numbers: Numbers, facts: Facts) -> str:
    flow = numbers["conduct"].get("flow") or []
    if not flow:
        return ""
    absent = sum(row["assigned"] - row["submitted"] for row in flow)
    rule = plan_body.MISSING[numbers["plan"]["missing"]]
    return (
        f"{absent} of {sum(row['assigned'] for row in flow)} assigned reads were not submitted. Rule: {rule}. See "
        "Exclusions."
    )


@_answers
def _acquisition(numbers: Numbers, facts: Facts) -> str:
    parts = [
        f"views: {facts.views}" if facts.views else "",
        f"detectors: {facts.modalities}" if facts.modalities else "",
    ]
    said = "; ".join(part for part in parts if part)
    return f"{said[:1].upper()}{said[1:]}." if said else ""


@_answers
def _reference_standard(numbers: Numbers, facts: Facts) -> str:
    return f"As stored with the cases: {facts.reference_methods}." if facts.reference_methods else ""


@_answers
def _boxes(numbers: Numbers, facts: Facts) -> str:
    return f"{facts.boxed}." if facts.boxed else ""


@_answers
def _leak_guard(numbers: Numbers, facts: Facts) -> str:
    return (
        "The study could only open because no patient of it is in any release of data that this GazeX or its ancestors "
        "were trained on at this site, and none entered one while it was blind."
    )


@_answers
def _disjoint(numbers: Numbers, facts: Facts) -> str:
    return "Patients, by their pseudonyms at this site."


@_answers
def _sample_size(numbers: Numbers, facts: Facts) -> str:
    return f"{facts.readers} readers and {facts.cases} cases, fixed when the protocol was locked."


@_answers
def _model(numbers: Numbers, facts: Facts) -> str:
    if not facts.model_sha256:
        return ""
    prompt = f", prompt {facts.prompt_versions}" if facts.prompt_versions else ""
    return (
        f"GazeX, weights SHA-256 {facts.model_sha256}{prompt}. It takes the image; it gives a report, a probability "
        "for each finding, boxes and an inspection path."
    )


@_answers
def _code(numbers: Numbers, facts: Facts) -> str:
    return "The code of the analysis is named by version and hash; see Where these numbers come from."


@_answers
def _metrics(numbers: Numbers, facts: Facts) -> str:
    names = dict.fromkeys(plan_body.FOMS[found["fom"]] for found in numbers["plan"]["endpoints"])
    return f"{', '.join(names)}; called present from confidence {numbers['plan']['threshold']}. See All endpoints."


@_answers
def _uncertainty(numbers: Numbers, facts: Facts) -> str:
    result = primary(numbers)["result"]
    return f"{result['method']}; {100 * (1 - result['alpha']):g} % intervals. See Conventions." if result else ""


@_answers
def _sensitivity_analyses(numbers: Numbers, facts: Facts) -> str:
    named = ", ".join(plan_body.SUBGROUPS[name] for name in numbers["plan"]["subgroups"])
    return f"Subgroups of cases by {named}, planned and exploratory. See Subgroups of cases." if named else ""


@_answers
def _explanations(numbers: Numbers, facts: Facts) -> str:
    return "GazeX showed boxes for its sentences and an inspection path; how readers looked is under Gaze."


@_answers
def _flow(numbers: Numbers, facts: Facts) -> str:
    rows = numbers["conduct"].get("flow") or []
    names = arm_names(numbers)
    said = "; ".join(f"{names[row['arm']]}: {row['submitted']} of {row['assigned']} reads" for row in rows)
    return f"{said}. See How the study was done." if said else ""


@_answers
def _demographics(numbers: Numbers, facts: Facts) -> str:
    parts = [f"sex: {facts.sexes}" if facts.sexes else "", f"age: {facts.ages}" if facts.ages else ""]
    said = "; ".join(part for part in parts if part)
    return f"{facts.patients} patients; {said}." if said else ""


@_answers
def _primary_result(numbers: Numbers, facts: Facts) -> str:
    return " ".join(endpoint_sentences(numbers, primary(numbers)))


@_answers
def _sensitivity_specificity(numbers: Numbers, facts: Facts) -> str:
    found = [e for e in numbers["endpoints"] if e["fom"] in ("sensitivity", "specificity")]
    return " ".join(sentence for endpoint in found for sentence in endpoint_sentences(numbers, endpoint))


@_answers
def _failures(numbers: Numbers, facts: Facts) -> str:
    found = numbers.get("reliance", {})
    if not found or found.get("not_estimable"):
        return ""
    return "Reads where GazeX missed or invented a finding are analysed apart. See Reliance on GazeX."


@_answers
def _protocol(numbers: Numbers, facts: Facts) -> str:
    return (
        f"Protocol, assignments and plan are locked and named by hash ({facts.protocol_versions} version of the "
        "protocol); the bundle holds them."
    )


@_answers
def _availability(numbers: Numbers, facts: Facts) -> str:
    return "The bundle holds every table the numbers are computed from and a program that recomputes them."


@_answers
def _reading(numbers: Numbers, facts: Facts) -> str:
    return f"Readers gave a confidence from 1 to 5 for each of: {', '.join(facts.findings)}; marks; a report."


@_answers
def _users(numbers: Numbers, facts: Facts) -> str:
    return f"{facts.readers} readers." if not numbers["study"]["simulated"] else f"{facts.readers} simulated readers."


@_answers
def _cutoff(numbers: Numbers, facts: Facts) -> str:
    return f"Confidence {numbers['plan']['threshold']} or more, in the locked plan."


@_answers
def _blinding(numbers: Numbers, facts: Facts) -> str:
    return (
        "Readers were never sent the truth, other readers’ answers, their own earlier reads, or, in an unassisted "
        "read, GazeX’s answer; the server holds them back."
    )


@_answers
def _indeterminate(numbers: Numbers, facts: Facts) -> str:
    return "A read cannot be submitted before every finding has a confidence; there are no indeterminate answers."


@_answers
def _fairness(numbers: Numbers, facts: Facts) -> str:
    groups = {row["group"] for row in numbers["subgroups"].get("rows", [])} & {"sex", "age"}
    return f"The effect by {' and '.join(sorted(groups))} is under Subgroups of cases." if groups else ""


@_answers
def _prevalence(numbers: Numbers, facts: Facts) -> str:
    return f"{facts.diseased} of {facts.cases} cases have a finding: {facts.prevalence}."


@_answers
def _normal_cases(numbers: Numbers, facts: Facts) -> str:
    return f"{facts.normal} cases have none of the findings."


@_answers
def _scores(numbers: Numbers, facts: Facts) -> str:
    return "Counts of every confidence by truth and arm. See Answers given." if primary(numbers)["scores"] else ""


@_answers
def _findings(numbers: Numbers, facts: Facts) -> str:
    return f"On chest X-rays: {', '.join(facts.findings)}."


@_answers
def _outputs(numbers: Numbers, facts: Facts) -> str:
    return (
        "A report, a probability for each finding, boxes and an inspection path, computed before the study opened and "
        "the same for every reader."
    )


@_answers
def _setting(numbers: Numbers, facts: Facts) -> str:
    return f"A browser viewer at reading workstations; gaze {facts.gaze}."


@_answers
def _arms(numbers: Numbers, facts: Facts) -> str:
    return f"Every reader reads every case once in each arm. {facts.arms}."


@_answers
def _endpoints(numbers: Numbers, facts: Facts) -> str:
    return f"{'; '.join(endpoint_words(found) for found in numbers['plan']['endpoints'])}. The first is primary."


@_answers
def _deviations(numbers: Numbers, facts: Facts) -> str:
    return " ".join(deviations(numbers)) or "None is known from what is stored. See Deviations from the protocol."


@_answers
def _no_patient_care(numbers: Numbers, facts: Facts) -> str:
    return "The images were read for the study only; no reading reached a patient’s care."


@_answers
def _human_factors(numbers: Numbers, facts: Facts) -> str:
    measured = ["reading time"] + ([] if facts.gaze == "none" else ["gaze"])
    if numbers.get("reliance") and not numbers["reliance"].get("not_estimable"):
        measured.append("reliance on right and wrong assistance")
    return f"Measured: {', '.join(measured)}."


@_answers
def _reading_time(numbers: Numbers, facts: Facts) -> str:
    return " ".join(time_sentences(numbers))


@_answers
def _subgroups(numbers: Numbers, facts: Facts) -> str:
    rows = numbers["subgroups"].get("rows", [])
    return f"{len(rows)} subgroups of cases, exploratory. See Subgroups of cases." if rows else ""


@_answers
def _frozen(numbers: Numbers, facts: Facts) -> str:
    return (
        "None: GazeX’s answers were computed with fixed weights and stored before the study opened "
        f"(SHA-256 {facts.model_sha256[:16]}…)."
        if facts.model_sha256
        else ""
    )


@_answers
def _reliance(numbers: Numbers, facts: Facts) -> str:
    found = numbers.get("reliance", {})
    return "" if not found or found.get("not_estimable") else "See Reliance on GazeX."


@_answers
def _learning(numbers: Numbers, facts: Facts) -> str:
    terms = [row["term"] for model in numbers["time"]["models"].values() for row in model["fixed"]]
    return "The time model has a term for the period. See Reading time." if "period" in terms else ""


@_answers
def _washout(numbers: Numbers, facts: Facts) -> str:
    return f"Crossover of {facts.periods} periods; {facts.washout_days} days of washout, held by the server."


@_answers
def _randomisation(numbers: Numbers, facts: Facts) -> str:
    return (
        f"Arms crossed over between {facts.parts} of readers and of cases; the order of cases permuted for each reader "
        f"and period (seed {facts.seed}); the plan is stored and hashed."
    )


@_answers
def _control(numbers: Numbers, facts: Facts) -> str:
    reference = arm_names(numbers)[numbers["plan"]["reference_arm"]]
    return f"The arm “{reference}” is the reference."


@_answers
def _case_mix(numbers: Numbers, facts: Facts) -> str:
    return (
        f"{facts.cases} cases ({facts.sources}), {facts.diseased} with a finding and {facts.normal} without: "
        f"{facts.prevalence}."
    )


@_answers
def _hit_rule(numbers: Numbers, facts: Facts) -> str:
    if not facts.boxed:
        return ""
    return f"{facts.boxed}. A mark counts as a hit where its centre lies in a reference box of the same finding."


@_answers
def _plan_locked(numbers: Numbers, facts: Facts) -> str:
    if not facts.plan_locked:
        return ""
    return f"Locked {facts.plan_locked}, unblinded {facts.unblinded}; hashed, and the database refuses to change it."


@_answers
def _multiplicity(numbers: Numbers, facts: Facts) -> str:
    return f"One primary endpoint; secondary p-values: {plan_body.MULTIPLICITY[numbers['plan']['multiplicity']]}."


@_answers
def _each_reader(numbers: Numbers, facts: Facts) -> str:
    return (
        "See Primary endpoint: every reader’s curve, value, change and interval." if primary(numbers)["result"] else ""
    )


@_answers
def _standalone(numbers: Numbers, facts: Facts) -> str:
    return "" if numbers["standalone"].get("not_estimable") else "See GazeX alone."


@_answers
def _bundle(numbers: Numbers, facts: Facts) -> str:
    return "The bundle of this result: tables as CSV, result as JSON, recompute.py."
