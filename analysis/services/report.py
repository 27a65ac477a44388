"""A result as a document: an ordered list of blocks that the HTML page and the PDF both print, word for word.

A block is a plain dictionary with a ``kind``:

    heading                 text, id, level
    lead, text, note, bad   text
    list                    lines
    pairs                   rows of (term, words)
    table                   caption, columns of {text, number}, rows of texts
    figure                  name, endpoint, alt, caption, wide

All text is text: neither renderer reads markup in it. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analysis.models import AnalysisResult
from analysis.queries.facts import Facts, facts_of_result

from . import checklists, plan_body
from .reporting import (
    Numbers,
    arm_names,
    capital,
    deviations,
    endpoint_sentences,
    fixed,
    p_value,
    percent,
    plan_words,
    primary,
    readable,
    reader_rows,
    score_rows,
    sentences,
    summary_rows,
    time_rows,
    time_sentences,
)

Block = dict[str, Any]


def document(result: AnalysisResult) -> dict[str, Any]:
    """The report's title, subtitle and blocks."""
    numbers, facts = readable(result.numbers), facts_of_result(result)
    blocks: list[Block] = []
    for part in (
        _summary, _conduct, _primary, _endpoints, _subgroups, _time, _reliance, _standalone, _calibration, _agreement,
        _gaze, _text, _plan, _conventions,
    ):  # fmt: skip
        blocks += part(numbers, facts)
    blocks += _provenance(result, numbers)
    blocks += _checklists(numbers, facts)
    return {
        "title": f"Analysis of {numbers['study']['name']}",
        "subtitle": f"Made {result.created_at:%Y-%m-%d %H:%M} UTC, result {str(result.pk)[:8]}, {result.code_version}",
        "blocks": blocks,
    }


# Blocks ---------------------------------------------------------------------------------------------------------------


def heading(text: str, level: int = 2) -> Block:
    anchor = "".join(letter if letter.isalnum() else "-" for letter in text.lower())
    return {"kind": "heading", "text": text, "id": anchor, "level": level}


def said(text: str, kind: str = "text") -> Block:
    return {"kind": kind, "text": text}


def listed(items: Iterable[str]) -> list[Block]:
    items = list(items)
    return [{"kind": "list", "lines": items}] if items else []


def pairs(rows: Sequence[tuple[str, str]]) -> Block:
    return {"kind": "pairs", "rows": [list(row) for row in rows]}


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> Block:
    """A table whose columns from ``numbers_from`` on are aligned as numbers."""
    return {
        "kind": "table",
        "caption": caption,
        "columns": [{"text": text, "number": place >= numbers_from} for place, text in enumerate(columns)],
        "rows": [list(row) for row in rows],
    }


def figure(name: str, alt: str, caption: str, endpoint: str = "", wide: bool = False) -> Block:
    return {"kind": "figure", "name": name, "endpoint": endpoint, "alt": alt, "caption": caption, "wide": wide}


def interval(low: Any, high: Any, places: int = 3) -> str:
    return "–" if low is None or high is None else f"{fixed(low, places)} to {fixed(high, places)}"


def interval_of(comparison: Numbers, places: int = 3) -> str:
    low, high = comparison.get("ci") or (None, None)
    return interval(low, high, places)


def p_only(value: Any) -> str:
    return "–" if value is None else p_value(value).removeprefix("p = ").removeprefix("p ")


def not_there(part: Numbers) -> list[Block]:
    """What a part says instead of its numbers, where it says it."""
    reason = part.get("not_estimable", "")
    return [said(f"{reason[:1].upper()}{reason[1:]}.", "note")] if reason else []


# Parts ----------------------------------------------------------------------------------------------------------------


def _summary(numbers: Numbers, facts: Facts) -> list[Block]:
    blocks = [heading("Summary")]
    if numbers["study"]["simulated"]:
        blocks.append(
            said(
                "The readers of this study are simulated. Its numbers show that the analysis works; they say nothing "
                "about people or about GazeX.",
                "note",
            )
        )
    blocks += [said(sentence, "lead") for sentence in sentences(numbers) if "are simulated" not in sentence]
    went_otherwise = deviations(numbers)
    if went_otherwise:
        blocks.append(
            said(
                f"{len(went_otherwise)} deviations from the protocol are listed below."
                if len(went_otherwise) > 1
                else went_otherwise[0],
                "bad",
            )
        )
    return blocks


def _conduct(numbers: Numbers, facts: Facts) -> list[Block]:
    conduct, names = numbers["conduct"], arm_names(numbers)
    blocks = [heading("How the study was done"), pairs(facts.design)]
    if conduct.get("not_estimable"):
        return blocks + not_there(conduct)
    if conduct["flow"]:
        blocks.append(
            table(
                "Reads per arm",
                ["Arm", "Assigned", "Submitted", "Invalidated", "Not read", "GazeX shown"],
                [
                    [
                        names[row["arm"]],
                        str(row["assigned"]),
                        str(row["submitted"]),
                        str(row["invalidated"]),
                        str(row["not_read"]),
                        str(conduct["shown"][row["arm"]][0]),
                    ]
                    for row in conduct["flow"]
                ],
            )
        )
    blocks.append(heading("Exclusions", 3))
    if conduct["exclusions"]:
        blocks.append(
            table("What was left out", ["What", "Why"], [[row["what"], row["why"]] for row in conduct["exclusions"]], 9)
        )
    else:
        blocks.append(said("No read and no case was excluded."))
    blocks.append(heading("Deviations from the protocol", 3))
    went_otherwise = deviations(numbers)
    blocks += listed(went_otherwise) or [said("None is known from what is stored.")]
    if conduct["recordings"]:
        kept = ", ".join(
            f"{count} {'without one' if state == 'none' else state}" for state, count in conduct["recordings"].items()
        )
        blocks.append(said(f"Gaze recordings of the submitted reads: {kept}."))
    return blocks


def _primary(numbers: Numbers, facts: Facts) -> list[Block]:
    endpoint = primary(numbers)
    words = endpoint["words"]
    blocks = [heading(f"Primary endpoint: {words}")]
    blocks += [said(sentence) for sentence in endpoint_sentences(numbers, endpoint)]
    if endpoint["curves"]:
        key = endpoint["key"]
        blocks.append(
            figure(
                "roc",
                "ROC curves of every arm: the readers’ average, each reader, operating points.",
                "Thick: the readers’ average at each false-positive fraction. Thin: each reader. Diamonds: each "
                f"reader’s operating point, called present from confidence {numbers['plan']['threshold']}. Dots: "
                "all answers pooled. Dotted: GazeX alone, where its probabilities are stored.",
                key,
            )
        )
        blocks.append(
            figure(
                "smooth",
                "Smooth ROC curves per arm.",
                "Proper binormal curves of all ratings of an arm pooled; no standard errors, since ratings of one case "
                "are not independent.",
                key,
            )
        )
        if not numbers["smooth"].get("not_estimable"):
            blocks.append(_smooth_table(numbers))
    if endpoint["result"]:
        blocks += comparison_tables(numbers, endpoint)
        blocks.append(
            figure(
                "forest",
                "Forest plot of each reader’s difference and the average; the table gives the numbers.",
                "Squares: each reader, interval over cases. Diamond: the average, interval over what the plan names.",
                endpoint["key"],
            )
        )
        blocks.append(readers_table(numbers, endpoint))
    if endpoint["scores"]:
        blocks += [
            heading("Answers given", 3),
            figure(
                "scores",
                "Share of reads at each confidence, per arm, with and without the finding.",
                "Confidence 1 definitely absent … 5 definitely present.",
                endpoint["key"],
            ),
            table(
                "Reads at each confidence",
                ["Arm", "Truth", "1", "2", "3", "4", "5", "All"],
                [
                    [row["arm"], row["truth"], *map(str, row["counts"]), str(row["total"])]
                    for row in score_rows(numbers, endpoint)
                ],
                2,
            ),
        ]
    return blocks


def _smooth_table(numbers: Numbers) -> Block:
    arms = [arm for arm in numbers["arms"] if arm["key"] in numbers["smooth"]["arms"]]
    rows = []
    for reader in numbers["readers"]:
        own = [numbers["smooth"]["arms"][arm["key"]]["readers"].get(reader, {}) for arm in arms]
        rows.append([reader, *(fixed(cell["auc"]) if cell.get("auc") is not None else "not estimable" for cell in own)])
    rows.append(["Average", *(fixed(numbers["smooth"]["arms"][arm["key"]]["mean"]) for arm in arms)])
    return table("Area under the proper binormal curve", ["Reader", *(arm["name"] for arm in arms)], rows)


def comparison_tables(numbers: Numbers, endpoint: Numbers) -> list[Block]:
    """The averages of the arms and their differences."""
    result, names = endpoint["result"], arm_names(numbers)
    ci = percent(result["alpha"])
    fom = endpoint["fom_words"]
    means = [
        [
            names[mean["treatment"]], fixed(mean["estimate"]), fixed(mean["se"], 4),
            interval(mean["lower"], mean["upper"]), fixed(mean["df"], 1), mean["not_estimable"],
        ]
        for mean in result["means"]
    ]  # fmt: skip
    differences = [
        [
            " − ".join(names[key] for key in found["treatments"]), fixed(found["difference"]), fixed(found["se"], 4),
            interval_of(found), fixed(found["statistic"], 2), fixed(found["df"], 1),
            p_only(found["p"]), found["not_estimable"],
        ]
        for found in result["comparisons"]
    ]  # fmt: skip
    blocks = [
        _with_remarks(f"Average {fom} of each arm", ["Arm", capital(fom), "SE", ci, "df"],
                      means),
        _with_remarks("Difference of the averages", ["Comparison", "Difference", "SE", ci, "t or z", "df", "p"],
                      differences),
        said(f"{result['method']}. {result['diseased']} cases with and {result['nondiseased']} without the finding, "
             f"{len(result['readers'])} reader{'s' if len(result['readers']) > 1 else ''}."),
    ]  # fmt: skip
    return blocks + [said(warning, "note") for warning in result["warnings"]]


def _with_remarks(caption: str, columns: list[str], rows: list[list[str]]) -> Block:
    """A table whose last cells are remarks; the column stands only where there is one."""
    if any(row[-1] for row in rows):
        made = table(caption, [*columns, "Remark"], rows)
        made["columns"][-1]["number"] = False
        return made
    return table(caption, columns, [row[:-1] for row in rows])


def readers_table(numbers: Numbers, endpoint: Numbers) -> Block:
    """Each reader's own numbers: every arm, the change with its interval, decisions that changed."""
    names = arm_names(numbers)
    rows_of = reader_rows(numbers, endpoint)
    reference = numbers["plan"]["reference_arm"]
    others = [arm["key"] for arm in numbers["arms"] if arm["key"] != reference]
    flips = any(row["flips"] for row in rows_of)
    columns = ["Reader", *(arm["name"] for arm in numbers["arms"])]
    for key in others:
        columns += [f"Change, {names[key]}" if len(others) > 1 else "Change", "Interval"]
    columns += ["Wrong → right", "Right → wrong"] if flips else []
    rows = []
    for row in rows_of:
        own = {change["treatments"][0]: change for change in row["differences"]}
        cells = [row["reader"], *(fixed((cell or {}).get("auc")) for cell in row["cells"])]
        for key in others:
            change = own.get(key, {})
            cells += [fixed(change.get("difference")), interval(change.get("lower"), change.get("upper"))]
        if flips:
            counts = row["flips"] or {}
            cells += [str(counts.get("wrong_to_right", "–")), str(counts.get("right_to_wrong", "–"))]
        rows.append(cells)
    return table(f"Each reader’s {endpoint['fom_words']}, and the reader’s own change", columns, rows)


def _endpoints(numbers: Numbers, facts: Facts) -> list[Block]:
    adjustment = plan_body.MULTIPLICITY[numbers["multiplicity"]["rule"]]
    rows = []
    for row in summary_rows(numbers):
        endpoint, found, adjusted = row["endpoint"], row["comparison"] or {}, row["adjusted"] or {}
        places = 1 if endpoint["fom"] == "time" else 3
        name = endpoint["words"] + (" (primary)" if endpoint["primary"] else "")
        name += f", {row['of']}" if row["of"] else ""
        change = fixed(found.get("difference"), 2 if endpoint["fom"] == "time" else 3)
        rows.append(
            [
                name, *(fixed(value, places) for value in row["means"]), change,
                interval_of(found), p_only(found.get("p")),
                p_only(adjusted.get("p_adjusted")), row["why"] or found.get("not_estimable", "") or "",
            ]
        )  # fmt: skip
    arms = [arm["name"] for arm in numbers["arms"]]
    columns = ["Endpoint", *arms, "Difference", percent(numbers["plan"]["alpha"]), "p", "Adjusted p"]
    return [
        heading("All endpoints"),
        said(
            f"Only the primary endpoint decides. Secondary p-values: {adjustment}. Reading time is given in seconds "
            "(geometric means), and its difference as a ratio."
        ),
        _with_remarks("Endpoints of the plan, against the reference arm", columns, rows),
    ]


def _subgroups(numbers: Numbers, facts: Facts) -> list[Block]:
    found = numbers["subgroups"]
    blocks = [heading("Subgroups of cases")]
    if found.get("not_estimable"):
        return blocks + not_there(found)
    if not found["rows"]:
        asked = ", ".join(plan_body.SUBGROUPS[name] for name in numbers["plan"]["subgroups"])
        return [
            *blocks,
            said(f"The cases do not differ in {asked}." if asked else "The plan names none."),
        ]
    rows, names = [], arm_names(numbers)
    for row in found["rows"]:
        for change in row["comparisons"] or [{}]:
            of = f", {names[change['treatments'][0]]}" if len(row["comparisons"]) > 1 else ""
            rows.append(
                [
                    plan_body.SUBGROUPS[row["group"]], row["level"] + of, str(row["cases"]),
                    fixed(change.get("difference")), interval_of(change),
                    row["error"] or change.get("not_estimable", ""),
                ]
            )  # fmt: skip
    words = primary(numbers)["words"]
    made = _with_remarks(
        f"Difference in {words} within each subgroup",
        ["Subgroup", "Level", "Cases", "Difference", percent(numbers["plan"]["alpha"])],
        rows,
    )
    made["columns"][1]["number"] = False
    return [
        *blocks,
        said(
            "Exploratory: subgroups are small, intervals are not adjusted for their number, and a difference between "
            "two subgroups is not shown by one interval excluding zero and another including it."
        ),
        figure("subgroups", "The difference within each subgroup with its interval; the table gives the numbers.",
               "Dashed: the difference over all cases."),
        made,
    ]  # fmt: skip


def _time(numbers: Numbers, facts: Facts) -> list[Block]:
    blocks = [heading("Reading time"), *(said(sentence) for sentence in time_sentences(numbers))]
    if numbers["time"].get("not_estimable"):
        return blocks
    blocks += [
        figure("times", "Geometric mean reading time per arm, one line per reader; the table gives the seconds.",
               "One line per reader; thick: all reads."),
        table(
            "Geometric mean seconds per read, by the server’s clock",
            ["Reader", *(arm["name"] for arm in numbers["arms"])],
            [[row["reader"], *(fixed(value, 1) for value in row["arms"])] for row in time_rows(numbers)],
        ),
    ]  # fmt: skip
    names = arm_names(numbers)
    for key, model in numbers["time"]["models"].items():
        if not model["fixed"]:
            continue
        blocks.append(
            table(
                f"Mixed model of log seconds, {names[key]} against the reference",
                ["Term", "Estimate", "SE", "df", "t", "p"],
                [
                    [
                        row["term"],
                        fixed(row["estimate"], 4),
                        fixed(row["se"], 4),
                        fixed(row["df"], 1),
                        fixed(row["t"], 2),
                        p_only(row["p"]),
                    ]
                    for row in model["fixed"]
                ],
            )
        )
        blocks += listed([*model["conventions"], *model["warnings"]])
    return blocks


#: Rates of reliance in a report, in its order.
_RATES = (
    "over_reliance", "under_reliance", "rair", "rsr", "commission", "commission_unaided", "commission_excess",
    "omission", "omission_unaided", "omission_excess",
)  # fmt: skip


def _reliance(numbers: Numbers, facts: Facts) -> list[Block]:
    found = numbers["reliance"]
    blocks = [heading("Reliance on GazeX")]
    if found.get("not_estimable"):
        return blocks + not_there(found)
    names, ci = arm_names(numbers), percent(numbers["plan"]["alpha"])
    label = "any finding" if found["finding"] == plan_body.ANY else found["finding"]
    blocks.append(
        said(
            f"Decisions about {label}: called present from confidence {numbers['plan']['threshold']}; GazeX says "
            f"present from a probability of {found['called_from']:g}."
        )
    )
    if any(not own["not_estimable"] for own in found["arms"].values()):
        blocks.append(
            figure(
                "reliance",
                "Each reader’s change in accuracy, and the rates of reliance; the tables give the numbers.",
                "Left: each reader’s own change in the share of right decisions, harm in red. Right: how often wrong "
                "advice was taken and right advice rejected.",
                wide=True,
            )
        )
    for key, own in found["arms"].items():
        if len(found["arms"]) > 1:
            blocks.append(heading(names[key], 3))
        if own["not_estimable"]:
            blocks += not_there(own)
            continue
        every = own["all"]
        blocks.append(said(_reliance_sentence(every)))
        blocks.append(
            table(
                "Decisions of the same reader on the same case, own and with GazeX",
                ["Advice", "Stayed right", "Wrong → right", "Right → wrong", "Stayed wrong"],
                [
                    [
                        word,
                        str(row["stayed_right"]),
                        str(row["wrong_to_right"]),
                        str(row["right_to_wrong"]),
                        str(row["stayed_wrong"]),
                    ]
                    for word, row in every["switches"].items()
                ],
            )
        )
        blocks.append(
            _with_remarks(
                "Rates, over readers and cases",
                ["Rate", "Reads", "Estimate", ci],
                [
                    [
                        (
                            f"{name.upper() if name in ('rair', 'rsr') else capital(name.replace('_', ' '))}"
                            f": {rate['words']}"
                        ),
                        f"{rate['numerator']} / {rate['denominator']}",
                        fixed(rate["estimate"], 2),
                        interval(rate["lower"], rate["upper"], 2),
                        rate["not_estimable"],
                    ]
                    for name, rate in ((name, every["rates"][name]) for name in _RATES)
                ],
            )
        )
        blocks.append(
            _with_remarks(
                "Share of right decisions where GazeX was right, and where it was wrong",
                ["GazeX", "Unaided", "With GazeX", "Difference", ci],
                [_stratum(name, stratum) for name, stratum in every["strata"].items()],
            )
        )
        blocks.append(_reader_changes(every))
        blocks += listed([*every["conventions"], *every["warnings"]])
    return blocks


def _reliance_sentence(every: Numbers) -> str:
    changes = [change for change in every["reader_changes"] if change["measure"] == "accuracy"]
    known = [change for change in changes if change["change"] is not None]
    worse = [change["reader"] for change in known if change["change"] < 0]
    switches = every["switches"]["all"]
    sentence = (
        f"With GazeX {switches['wrong_to_right']} decisions became right and {switches['right_to_wrong']} became "
        f"wrong, of {every['pairs']} pairs."
    )
    if worse:
        sentence += f" {len(worse)} of {len(known)} readers decided worse with GazeX: {', '.join(worse)}."
    elif known:
        whose = f"None of {len(known)} readers had" if len(known) != 1 else "The reader had no"
        sentence += f" {whose} fewer right decisions with GazeX."
    harmed = [f"{c['reader']} in {c['measure']}" for c in every["reader_changes"] if c["verdict"] == "worse"]
    if harmed:
        sentence += f" Worse beyond chance over that reader’s cases: {', '.join(harmed)}."
    return sentence


def _stratum(name: str, found: Any) -> list[str]:
    if isinstance(found, str):
        return [name, "–", "–", "–", "–", found]
    means = {mean["treatment"]: mean["estimate"] for mean in found["means"]}
    change: Numbers = next(iter(found["comparisons"]), {})
    return [
        name, fixed(means.get("unaided"), 2), fixed(means.get("aided"), 2), fixed(change.get("difference"), 2),
        interval_of(change, 2), change.get("not_estimable", ""),
    ]  # fmt: skip


def _reader_changes(every: Numbers) -> Block:
    rows = [
        [
            change["reader"], change["measure"], fixed(change["unaided"], 2), fixed(change["aided"], 2),
            fixed(change["change"], 2), interval(change["lower"], change["upper"], 2), str(change["gained"]),
            str(change["lost"]), change["verdict"] if not change["not_estimable"] else change["not_estimable"],
        ]
        for change in every["reader_changes"]
    ]  # fmt: skip
    made = table(
        "Each reader’s own change, harm included",
        ["Reader", "Measure", "Unaided", "With GazeX", "Change", "Interval", "Gained", "Lost", "Verdict"],
        rows,
    )
    made["columns"][1]["number"] = made["columns"][8]["number"] = False
    return made


def _standalone(numbers: Numbers, facts: Facts) -> list[Block]:
    found = numbers["standalone"]
    blocks = [heading("GazeX alone")]
    if found.get("not_estimable"):
        return blocks + not_there(found)
    names = arm_names(numbers)
    rows = []
    for key, own in found["arms"].items():
        rows.append(
            [
                names[key], fixed(own.get("readers_mean", {}).get("estimate")),
                fixed(own.get("ai_estimate", {}).get("estimate")), fixed(own.get("difference")),
                interval_of(own), p_only(own.get("p")), own.get("not_estimable", ""),
            ]
        )  # fmt: skip
    return [
        *blocks,
        said(
            "GazeX’s stored probabilities taken as ratings of the same cases, against the readers of each arm. "
            "GazeX is fixed; the difference is readers − GazeX."
        ),
        _with_remarks(
            f"AUC for {'any finding' if found['finding'] == plan_body.ANY else found['finding']}",
            ["Readers", "Their average", "GazeX", "Difference", percent(numbers["plan"]["alpha"]), "p"],
            rows,
        ),
    ]


def _calibration(numbers: Numbers, facts: Facts) -> list[Block]:
    found, names = numbers["calibration"], arm_names(numbers)
    blocks = [heading("Calibration of confidence")]
    if found.get("not_estimable"):
        return blocks + not_there(found)
    named = [(names[key], one) for key, one in found["arms"].items()]
    if found["model"]:
        named.append(("GazeX alone", found["model"]))

    def cell(estimate: Numbers) -> str:
        if estimate["value"] is None:
            return "not estimable"
        ends = interval(estimate["lower"], estimate["upper"], 2)
        return fixed(estimate["value"], 2) + (f" ({ends})" if ends != "–" else "")

    rows = [
        [name, str(one["reads"]), cell(one["brier"]), cell(one["ece"]), cell(one["slope"]), cell(one["intercept"])]
        for name, one in named
    ]
    blocks.append(
        figure(
            "calibration",
            "Reliability diagram per arm; the table gives the summary.",
            "Each confidence step stands for a probability; on the dotted line it is as often right as it says.",
        )
    )
    blocks.append(
        table(
            f"Calibration, {percent(numbers['plan']['alpha'])}",
            ["Arm", "Reads", "Brier score", "Calibration error", "Slope", "Intercept"],
            rows,
        )
    )
    for change in found["brier"]["comparisons"]:
        words = " − ".join(names[key] for key in change["treatments"])
        difference = f"{fixed(change['difference'])} ({interval_of(change)})"
        reason = change["not_estimable"]
        blocks.append(
            said(f"Brier score, {words}: {difference}; lower is better." if not reason else f"{words}: {reason}.")
        )
    lines = [line for _, one in named for line in [*one["conventions"], *one["warnings"]]]
    return blocks + listed(dict.fromkeys(lines))


def _agreement(numbers: Numbers, facts: Facts) -> list[Block]:
    found, names = numbers["agreement"], arm_names(numbers)
    blocks = [heading("Agreement between readers")]
    if found.get("not_estimable"):
        return blocks + not_there(found)
    rows = [
        [
            names[arm], row["coefficient"], row["of"], fixed(row["estimate"], 2),
            interval(row.get("lower"), row.get("upper"), 2), row["not_estimable"],
        ]
        for arm, own in found["arms"].items()
        for row in own
    ]  # fmt: skip
    made = _with_remarks(
        f"Agreement on {'any finding' if found['finding'] == plan_body.ANY else found['finding']}, within each arm",
        ["Arm", "Coefficient", "Of", "Estimate", percent(numbers["plan"]["alpha"])],
        rows,
    )
    made["columns"][1]["number"] = made["columns"][2]["number"] = False
    return [*blocks, said("Intervals are over cases, for these readers."), made]


def _gaze(numbers: Numbers, facts: Facts) -> list[Block]:
    found, names = numbers["gaze"], arm_names(numbers)
    blocks = [heading("Gaze")]
    if found.get("reads"):
        blocks.append(
            table(
                "Reads with gaze",
                ["Arm", "Submitted", "With gaze", "Measured"],
                [
                    [names[key], str(row["submitted"]), str(row["with_gaze"]), str(row["measured"])]
                    for key, row in found["reads"].items()
                ],
            )
        )
    if found.get("not_estimable"):
        return blocks + not_there(found)
    maps = found.get("heat_maps")
    if maps and any(maps["arms"].values()):
        blocks.append(
            figure(
                "gaze",
                "Heat maps of gaze, one per arm, and of GazeX’s inspection path.",
                maps["convention"],
                wide=True,
            )
        )
    blocks += _outcomes("What the eyes did", found["outcomes"], numbers)
    blocks += listed([*found["warnings"], *found["conventions"]])
    return blocks


def _text(numbers: Numbers, facts: Facts) -> list[Block]:
    found = numbers["text"]
    blocks = [heading("Reports")]
    if found.get("not_estimable"):
        return blocks + not_there(found)
    blocks += _outcomes("What the reports say, and where marks lie", found["outcomes"], numbers)
    blocks += listed(found["conventions"])
    return blocks


def _outcomes(caption: str, outcomes: Sequence[Numbers], numbers: Numbers) -> list[Block]:
    """The outcomes that could be compared, one row each; under them the others, by their reason."""
    reference = numbers["plan"]["reference_arm"]
    arms = numbers["arms"]
    rows: list[list[str]] = []
    absent: dict[str, list[str]] = {}
    for one in outcomes:
        result = one["result"]
        name = one["label"] + (f", {one['unit']}" if one["unit"] else "")
        if result is None:
            absent.setdefault(one["not_estimable"], []).append(name)
            continue
        means = {mean["treatment"]: mean["estimate"] for mean in result["means"]}
        changes = [c for c in result["comparisons"] if c["treatments"][1] == reference]
        change: Numbers = changes[0] if changes else {}
        reads = " / ".join(str(one["reads"].get(arm["key"], 0)) for arm in arms)
        low, high = change.get("ci") or (None, None)
        rows.append(
            [
                capital(name),
                reads,
                *(fixed(means.get(arm["key"]), 2) for arm in arms),
                fixed(change.get("difference"), 2),
                interval(low, high, 2),
                change.get("not_estimable", ""),
            ]
        )
    ci = percent(numbers["plan"]["alpha"])
    blocks = []
    if rows:
        columns = ["Outcome", "Reads", *(arm["name"] for arm in arms), "Difference", ci]
        blocks.append(_with_remarks(caption, columns, rows))
    return blocks + listed(f"{capital(why)}: {', '.join(names)}." for why, names in absent.items())


def _plan(numbers: Numbers, facts: Facts) -> list[Block]:
    return [
        heading("Analysis plan"),
        said(f"Locked {facts.plan_locked}, before the study was unblinded {facts.unblinded}."),
        pairs(plan_words(numbers["plan"], arm_names(numbers))),
    ]


def _conventions(numbers: Numbers, facts: Facts) -> list[Block]:
    items: list[str] = []
    for endpoint in numbers["endpoints"]:
        for line in (endpoint["result"] or {}).get("conventions", []):
            if line not in items:
                items.append(line)
    return [
        heading("Conventions"),
        said("Where programs for such studies differ, this is what was done."),
        *listed(items),
    ]


def _provenance(result: AnalysisResult, numbers: Numbers) -> list[Block]:
    rows = [
        ("Result", str(result.pk)),
        ("Made", f"{result.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Code", result.code_version),
        ("Analysis plan, SHA-256", result.inputs.get("plan_sha256") or "–"),
        ("Protocol, SHA-256", result.inputs.get("protocol_sha256") or "–"),
        ("Assignments, SHA-256", result.inputs.get("assignments_sha256") or "–"),
        ("GazeX’s weights, SHA-256", result.inputs.get("model_sha256") or "–"),
    ]
    tables = result.inputs.get("tables") or {"readings.csv": result.inputs_sha256}
    rows += [(f"{name}, SHA-256", digest) for name, digest in sorted(tables.items())]
    whole = (
        "The bundle of this result holds these files and a program that recomputes the numbers from them. The same "
        "files and code give the same numbers."
    )
    bundled = "tables" in result.inputs
    return [heading("Where these numbers come from"), *([said(whole)] if bundled else []), pairs(rows)]


def _checklists(numbers: Numbers, facts: Facts) -> list[Block]:
    blocks = [
        heading("Reporting checklists"),
        said(
            "Items are paraphrased. Answered is what the site knows; what it does not record is named, and has to be "
            "written by the authors."
        ),
    ]
    for filled in checklists.filled(numbers, facts):
        blocks.append(heading(filled.name, 3))
        blocks.append(said(f"{filled.source} {filled.answered} of {len(filled.rows)} items answered here."))
        blocks.append(
            table(
                filled.name,
                ["Item", "What is asked", "Answer"],
                [[row.id, row.asks, row.words] for row in filled.rows],
                9,
            )
        )
    return blocks
