"""What client and controller say to each other: plain dicts, no pickles.

A request is ``{"command": name, "protocol": number, ...}``; the answer has ``"error"`` where it was
refused, with the error's class and text. Events of the run come by Dask's topic `TOPIC`, each with
its ``serial`` number.
"""

from __future__ import annotations

from typing import Any

from yfccdask import errors
from yfccdask.errors import ClusterError, YfccdaskError
from yfccdask.training.compatibility import PROTOCOL

HANDLER = "yfccdask"
TOPIC = "yfccdask"
Message = dict[str, Any]


def request(command: str, **fields: Any) -> Message:
    """A command as it is sent."""
    return {"command": command, "protocol": PROTOCOL, **fields}


def refusal(error: BaseException) -> Message:
    """An error as an answer."""
    kind = type(error).__name__
    text = str(error) if isinstance(error, YfccdaskError) else repr(error)
    return {"error": kind, "text": text}


def error_of(kind: str, text: str) -> YfccdaskError:
    """The error that a refusal, or the end of a run, was made from."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, YfccdaskError):
        return found(text)
    return YfccdaskError(f"{kind}: {text}")


def answered(answer: Message) -> Message:
    """An answer; raises the error that it was refused with."""
    if "error" in answer:
        raise error_of(answer["error"], answer["text"])
    return answer


def check_protocol(message: Message) -> None:
    """Refuse a message of another protocol.

    Raises
    ------
    ClusterError
    """
    found = message.get("protocol")
    if found != PROTOCOL:
        raise ClusterError(
            f"expected messages of protocol {PROTOCOL}, found {found}: install the same yfccdask "
            "on the client and on the scheduler, and start the scheduler again"
        )
