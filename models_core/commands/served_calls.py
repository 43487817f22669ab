"""Calls of served models within `live`: each in a thread of its own, so that none waits for the server of another."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from models_core.contract.errors import BadInput, RowError, Stopped
from models_core.contract.rows import records
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig
from models_core.generation.sampled_response import SampledResponse
from models_core.generation.served_stream import StreamFault, StreamingServer

STREAM_SECONDS = 0.2
"""Between two texts of a response that is streamed."""

Call = dict[str, Any]
Tell = Callable[[Mapping[str, Any]], None]
Respond = Callable[[Call, Tell, "ServedCall"], None]


class ServedCall:
    """One call, which another thread may leave."""

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop
        self._server: StreamingServer | None = None

    def leave(self) -> None:
        """Have `reply` raise Stopped, at once where it waits for the server's words."""
        self.stop.requested = True
        if self._server is not None:
            self._server.leave()

    def reply(
        self, call: Call, prompt: records.Prompt, settings: SampleConfig, tell: Tell
    ) -> tuple[dict[str, Any], list[SampledResponse]]:
        """The name of a served model, and its one response. Raises BadInput, StreamFault, Stopped."""
        if call["samples"] != 1:
            raise BadInput("A served model gives one response to a call.")
        key_variable = str(call.get("key_variable") or "")
        server = StreamingServer(call["model"], settings=settings, stop=self.stop, key_variable=key_variable)
        self._server = server
        self.stop.check()
        tell({"state": "generating", "done": 0, "total": 1})
        tell_text, latest = now_and_then(tell, lambda text: text), ""

        def on_text(text: str) -> None:
            nonlocal latest
            latest = text
            tell_text(text)

        try:
            name, response = server.reply(prompt.messages, on_text)
        except StreamFault:
            tell({"state": "generating", "done": 0, "total": 1, "text": latest})
            raise
        return {"served_model": name}, [response]


class ServedCalls:
    """The calls that are under way, by their numbers. How many there are at once is up to whoever makes them."""

    def __init__(self, respond: Respond, tell: Tell) -> None:
        self._respond = respond
        self._tell = tell
        self._calls: dict[int, tuple[ServedCall, threading.Thread]] = {}

    def begin(self, call: Call) -> None:
        served = ServedCall(StopSignal())
        thread = threading.Thread(target=self._run, args=(call, served), daemon=True)
        self._calls[call["call"]] = served, thread
        thread.start()

    def leave(self, number: int) -> None:
        """Leave a call, if it has not ended: nothing is told of it any more."""
        if (found := self._calls.get(number)) is not None:
            found[0].leave()

    def leave_all(self) -> None:
        calls = list(self._calls.values())
        for served, _ in calls:
            served.leave()
        for _, thread in calls:
            thread.join(timeout=1.0)  # one that still connects ends with the process

    @property
    def are_under_way(self) -> bool:
        return bool(self._calls)

    def _run(self, call: Call, served: ServedCall) -> None:
        number = call["call"]

        def tell(what: Mapping[str, Any]) -> None:
            if not served.stop.requested:
                self._tell({"call": number, **what})

        try:
            with reported_faults(tell):
                self._respond(call, tell, served)
        except Stopped:
            pass  # nobody waits for it
        except Exception as error:  # somebody waits for a last line, and the other calls go on
            traceback.print_exception(error)
            tell({"error": " ".join(f"{type(error).__name__}: {error}".split())})
        finally:
            self._calls.pop(number, None)


@contextmanager
def reported_faults(tell: Tell) -> Iterator[None]:
    """Tell what is wrong with a call."""
    try:
        yield
    except StreamFault as fault:
        tell({"error": fault.code, "fault": {"code": fault.code, "values": fault.values}})
    except (BadInput, RowError) as error:
        tell({"error": " ".join(str(error).split())})


def now_and_then(tell: Tell, text_of: Callable[[Any], str]) -> Callable[[Any], None]:
    """Tells the text of what it is given, every STREAM_SECONDS."""
    last_sent = time.monotonic()

    def tell_text(given: Any) -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent >= STREAM_SECONDS:
            last_sent = time.monotonic()
            tell({"state": "generating", "done": 0, "total": 1, "text": text_of(given)})

    return tell_text
