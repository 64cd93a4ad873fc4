"""Would these rules have given good limits? The history of a release, walked through day by day."""

from __future__ import annotations

from jobs.fit_hours import fit_hours
from jobs.work import Work
from quotaloop.errors import UsageError
from quotaloop.marts.views import open_views
from quotaloop.quotas.evaluation.evaluate import Evaluation, evaluate
from quotaloop.sinks.configured import sinks

_DAY_MS = 86_400_000


def judge(work: Work, *, days: int, sink: str) -> Evaluation:
    """The last so many UTC days with hours fit for quotas, under the limiter of a sink, beside simpler ways.

    Raises ``UsageError`` where there is no release, no such sink, or no day to judge, and ``CheckRefused``.
    """
    release = work.latest
    if release is None:
        raise UsageError("there is no release to judge limits on; run `quotaloop run`")
    targets = {one.configuration.name: one.configuration.target for one in sinks(work.settings, work.store)}
    if sink not in targets or days < 1:
        raise UsageError(f"--days is above 0, and --sink one of {', '.join(targets)}")
    fit = fit_hours(work, release).fit
    wanted = sorted({hour // _DAY_MS for hour in fit})[-days - 1 :]
    hours = [hour for hour in fit if hour // _DAY_MS in wanted]
    with (
        work.stage("evaluate", len(wanted), "days"),
        open_views(work.store, release, tables=("demand_minutely", "rate_limit_usage", "events")) as connection,
    ):
        return evaluate(connection, hours=hours, settings=work.settings, target=targets[sink])
