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
    Stage("parse", "jobs.stages:parse"),
    Stage("build", "jobs.stages:build", ("parse",)),
    Stage("recount", "jobs.stages:recount", ("build",)),
    Stage("audit", "jobs.stages:audit", ("recount",)),
    Stage("release", "jobs.stages:release", ("audit",)),
    Stage("derive", "jobs.feedback:derive", ("release",)),
    Stage("publish", "jobs.feedback:publish", ("derive",)),
)
TO_RELEASE = ("parse", "build", "recount", "audit", "release")
TO_LIMITERS = ("derive", "publish")
