"""The loop as data: which stage runs which job, after which other stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's name, its job as ``module:function`` of one ``jobs.work.Work``, and the stages it needs."""

    name: str
    job: str
    after: tuple[str, ...] = ()


LOOP: tuple[Stage, ...] = (
    Stage("land", "jobs.ingest.land:land"),
    Stage("parse", "jobs.stages:parse", ("land",)),
    Stage("build", "jobs.stages:build", ("parse",)),
    Stage("recount", "jobs.stages:recount", ("build",)),
    Stage("audit", "jobs.stages:audit", ("recount",)),
    Stage("release", "jobs.stages:release", ("audit",)),
    Stage("derive", "jobs.feedback:derive", ("release",)),
    Stage("renew", "jobs.feedback:renew_by_clock", ("derive",)),
    Stage("publish", "jobs.publication:publish", ("renew",)),
)
TO_RAW = ("land",)
TO_BUILD = ("parse", "build")
TO_RELEASE = ("recount", "audit", "release")
TO_POLICY = ("derive",)
TO_LIMITERS = ("renew", "publish")
