"""Judge comparisons: rank the responses of every row by a chat model or a reward model.

    python -m models_core judge --model http://host/v1 --data tasks.jsonl --out judgments.jsonl

A chat model is asked about every pair of a row's responses in both orders, and a contradiction is a tie. Each verdict
goes into OUT.partial as it comes: a command that was stopped or killed goes on with --resume and asks nothing twice.
When the budget is spent, the rows that are not judged say so and the command ends.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models_core.ai_feedback import rankings
from models_core.ai_feedback.judge_server import JudgeServer
from models_core.ai_feedback.spending import BudgetSpent, Spending, Usage
from models_core.commands.output import partial_output
from models_core.contract.atomic_write import write_lines
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.reports import reward_names
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import PromptResponses
from models_core.contract.runs.progress import Ticker
from models_core.contract.runs.run_folder import file_sha256
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import JudgeConfig
from models_core.generation.served_model import RequestRefused

NO_VERDICT, REFUSED, BUDGET, TOO_LONG, ONE_TEXT = "no_verdict", "refused", "budget", "too_long", "same_text"
"""Why a row is not judged."""
SCORED_ROWS = 32
Row = dict[str, Any]


def run(
    settings: JudgeConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    device: Any = None,
    stop: StopSignal | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Rank the responses of every row into OUT, whole or not at all; returns counts, usage and cost.

    Raises BadInput, Stopped, and ServerFailed where the server doesn't respond.
    """
    out, stop = Path(out), stop or StopSignal()
    rows: list[PromptResponses] = list(row_parser.stream(Path(data), "responses"))
    if not rows:
        raise BadInput(f"{Path(data).name}: the file has no rows.")
    for row in rows:
        if len(row.texts) < 2:
            raise BadInput(f"{Path(data).name}: the row {row.id!r} has fewer than two responses to compare.")
    start = time.perf_counter()
    if reward_names.is_address(model):
        request = {"model": model, "data": file_sha256(data), "settings": asdict(settings)}
        server_judge = _ServerJudge(rows, model=model, out=out, settings=settings, stop=stop)
        found, facts = server_judge.judge(request, resume=resume)
    else:
        found, facts = _by_reward_model(rows, model=model, settings=settings, device=device, stop=stop)
    write_lines(out, (json.dumps(row, ensure_ascii=False) for row in found))
    partial_output.beside(out).unlink(missing_ok=True)
    judged = [row for row in found if row["tiers"] is not None]
    pairs = sum(row.get("pairs", 0) for row in judged)
    unjudged = [row["reason"] for row in found if row["tiers"] is None]
    seconds = time.perf_counter() - start
    return {
        "rows": len(rows),
        "judged": len(judged),
        "unjudged": {reason: unjudged.count(reason) for reason in sorted(set(unjudged))},
        "revisions": sum("revision" in row for row in judged),
        "position_consistency": sum(row["consistent"] for row in judged) / pairs if pairs else None,
        **facts,
        "seconds": seconds,
    }


class _ServerJudge:
    """The verdicts and revisions of a file's rows, as they come in."""

    def __init__(
        self, rows: Sequence[PromptResponses], *, model: str, out: Path, settings: JudgeConfig, stop: StopSignal
    ) -> None:
        self.rows, self.address, self.settings, self.stop = rows, model, settings, stop
        self.partial = partial_output.beside(out)
        self.outcomes: list[dict[tuple[int, int], str]] = [{} for _ in rows]
        self.revisions: dict[int, str] = {}
        self.refusal = ""
        self.spending = Spending(settings)

    def judge(self, request: Row, *, resume: bool) -> tuple[list[Row], dict[str, Any]]:
        kept = partial_output.entries(self.partial, request=request) if resume else []
        self._file = partial_output.begin(self.partial, request=request)
        for entry in kept:
            self._take(entry)
            self.spending.total.add(Usage(**entry["usage"]))
        try:
            name, retries = self._ask()
        except Stopped:
            raise Stopped(self._stop_message()) from None
        finally:
            self._file.close()
        found = [self._result(number) for number in range(len(self.rows))]
        self._check(found)
        total = self.spending.total
        facts = {
            "server": name,
            "retries": retries,
            **asdict(total),
            "cost": total.cost(self.settings),
            "budget_spent": self.spending.is_spent,
        }
        return found, facts

    def _ask(self) -> tuple[str, int]:
        """Ask for the verdicts that are missing, then for revisions; (the server's name, its retries)."""
        server = self._server()
        model = server.model()
        queries = list(self._queries())
        progress = Ticker("questions")
        total = sum(len(rankings.orders(len(row.texts))) for row in self.rows)
        done = total - len(queries)
        for _, entry in server.each(queries, lambda query: self._verdict(server, model, *query)):
            self._take(entry)
            done += "verdict" in entry
            progress(done, total)
        retries = server.retries
        if not self.settings.constitution:
            return server.name, retries
        server = self._server()  # a server is asked by `each` once
        wanted = [number for number in range(len(self.rows)) if number not in self.revisions and self._best(number)]
        for _, entry in server.each(wanted, lambda number: self._revision(server, model, number)):
            self._take(entry)
        return server.name, retries + server.retries

    def _server(self) -> JudgeServer:
        return JudgeServer(self.address, settings=self.settings, stop=self.stop, spending=self.spending)

    def _queries(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """(row, shown) without a verdict yet; a row that cannot be judged any more is asked about no further."""
        for number, row in enumerate(self.rows):
            known = self.outcomes[number]
            if len(set(row.texts)) > 1 and not {NO_VERDICT, REFUSED} & set(known.values()):
                yield from ((number, shown) for shown in rankings.orders(len(row.texts)) if shown not in known)

    def _verdict(self, server: JudgeServer, model: str, number: int, shown: tuple[int, int]) -> Row:
        """An entry of the file, without a verdict where the budget is spent. Called in threads."""
        row, usage = self.rows[number], Usage()
        first, second = (row.texts[place] for place in shown)
        try:
            verdict = server.verdict(model, row.messages, first, second, usage) or NO_VERDICT
        except BudgetSpent:
            return {"row": number, "usage": asdict(usage)}
        except RequestRefused as error:
            if not error.is_of_request:
                raise
            verdict, self.refusal = REFUSED, str(error)
        return {"row": number, "shown": list(shown), "verdict": verdict, "usage": asdict(usage)}

    def _revision(self, server: JudgeServer, model: str, number: int) -> Row:
        row, usage, text = self.rows[number], Usage(), ""
        best = self._best(number)
        assert best is not None
        try:
            text = server.revision(model, row.messages, row.texts[best[0]], usage)
        except BudgetSpent:
            return {"row": number, "usage": asdict(usage)}
        except RequestRefused as error:
            if not error.is_of_request:
                raise
        return {"row": number, "revision": text, "usage": asdict(usage)}

    def _take(self, entry: Row) -> None:
        if "revision" in entry:
            self.revisions[entry["row"]] = entry["revision"]
        elif "verdict" in entry:
            first, second = entry["shown"]
            self.outcomes[entry["row"]][first, second] = entry["verdict"]
        self._file.write(partial_output.line(entry))
        self._file.flush()

    def _best(self, number: int) -> list[int] | None:
        """The best tier of a row that is judged, None of another one."""
        tiers = self._result(number)["tiers"]
        return tiers[0] if tiers else None

    def _result(self, number: int) -> Row:
        row, outcomes = self.rows[number], self.outcomes[number]
        unjudged = {"id": row.id, "tiers": None}
        if len(set(row.texts)) == 1:
            return unjudged | {"reason": ONE_TEXT}
        for reason in (REFUSED, NO_VERDICT):
            if reason in outcomes.values():
                return unjudged | {"reason": reason}
        if any(shown not in outcomes for shown in rankings.orders(len(row.texts))):
            return unjudged | {"reason": BUDGET}
        ranking = rankings.from_outcomes(len(row.texts), outcomes)
        found = {"id": row.id, **asdict(ranking)}
        text = self.revisions.get(number, "")
        if text and text not in (known.strip() for known in row.texts):
            found["revision"] = {"response": ranking.tiers[0][0], "text": text}
        return found

    def _check(self, found: Sequence[Row]) -> None:
        """Raise BadInput where every row that was asked about came to nothing: the settings are to blame."""
        reasons = {row.get("reason") for row in found} - {ONE_TEXT}
        if reasons <= {REFUSED, NO_VERDICT} and reasons:
            if self.refusal:
                raise BadInput(self.refusal)
            raise BadInput(
                f"The judge {self.address} gave no verdict (A, B or TIE) on any of {len(found)} rows: "
                "another served_model or other judge_instructions may help."
            )

    def _stop_message(self) -> str:
        judged = sum(self._result(number)["tiers"] is not None for number in range(len(self.rows)))
        return f"Stopped; {judged} of {len(self.rows)} rows are judged, --resume goes on with the others."


def _by_reward_model(
    rows: Sequence[PromptResponses], *, model: str, settings: JudgeConfig, device: Any, stop: StopSignal
) -> tuple[list[Row], dict[str, Any]]:
    from models_core.rl.rewards.reward_models import RewardModels
    from models_core.training import precision

    reward_models = RewardModels.load(
        model,
        device=device,
        dtype=precision.dtype_of(precision.resolve(settings.precision, device=device)),
        max_length=settings.max_length,
        budget=settings.max_tokens_per_forward,
        chat_template=settings.chat_template,
    )
    found: list[Row] = []
    progress = Ticker("rows")
    for start in range(0, len(rows), SCORED_ROWS):
        stop.check()
        some = rows[start : start + SCORED_ROWS]
        for row, own in zip(some, reward_models.head_scores([(row.messages, row.texts) for row in some]), strict=True):
            scores = [None if heads is None else float(heads.mean()) for heads in own]
            known = [score for score in scores if score is not None]
            if len(known) < len(scores):
                found.append({"id": row.id, "tiers": None, "reason": TOO_LONG})
            else:
                tiers = rankings.from_scores(known, tie_margin=settings.tie_margin)
                found.append({"id": row.id, "tiers": tiers, "scores": known})
        progress(len(found), len(rows))
    return found, {"model": model}
