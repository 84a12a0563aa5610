"""``pytest -m campaign --minutes 30 --seed N``; ``--case AREA:N --seed S`` tries one case again, alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.campaign.frame import AREAS, Campaign, known_areas

FINDINGS = Path(__file__).resolve().parents[2] / "build" / "campaign"


@pytest.mark.campaign
@pytest.mark.timeout(0)  # it has a time of its own
def test_campaign(tmp_path: Path, request: pytest.FixtureRequest, record_property: pytest.Function) -> None:
    option = request.config.getoption
    seed, minutes, case = str(option("seed")), float(option("minutes")), option("case")
    area, _, number = (case or "").partition(":")
    areas = [area] if area else known_areas()
    findings = FINDINGS / f"{seed}.jsonl"
    cores = len(os.sched_getaffinity(0))
    campaign = Campaign(seed, areas, tmp_path, findings, cores)
    try:
        if number:
            answer = campaign.run_one(int(number))
            record_property("campaign", f"{case}: {answer['what']}: {answer['outcome']}\n{answer['said']}")
        else:
            campaign.run(60 * minutes)
            left = ", ".join(sorted({*AREAS} - {*areas})) if not area else ""
            untried = f"\nnot tried, for what they need is not installed: {left}" if left else ""
            told = f"seed {seed}, {minutes:g} minutes, {cores} cores\n{campaign.table()}{untried}"
            record_property("campaign", told)
    finally:
        campaign.close()
    again = [f"--case {found['area']}:{found['number']} --seed {seed}  {found['outcome']}: {found['what']}"
             for found in campaign.found]  # fmt: skip
    assert not again, f"{len(again)} findings, in {findings}; one again: pytest -m campaign\n" + "\n".join(again[:50])
