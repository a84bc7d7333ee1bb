"""What is said to the customer: what happened, why that is likely, what to do next.

No word of an engineer's, nothing that the other system answered, nothing that was entered but a
host's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from producer.connect.flow.state import Explanation, Step
from producer.connect.system import System

TITLES: Final[Mapping[str, str]] = {
    "address": "The address is a proper one",
    "dns": "The address leads to a server",
    "tls": "The connection is encrypted and genuine",
    "reach": "The system answers",
    "credentials": "Your credentials are accepted",
    "permissions": "They allow what is needed",
    "clock": "Both clocks agree",
    "register": "The system knows where to send its events",
    "pasted": "You told the system where to send its events",
    "gateway": "We are ready to receive them",
    "sent": "A test event was asked for",
    "arrived": "An event has arrived",
}
STEPS: Final[Mapping[Step, str]] = {
    Step.CHOOSE: "Choose",
    Step.DETAILS: "Details",
    Step.AUTHORISE: "Allow access",
    Step.VALIDATE: "Check",
    Step.REGISTER: "Set up",
    Step.TEST: "Test",
    Step.CONNECTED: "Connected",
}
ENDED: Final[Mapping[Step, str]] = {
    Step.CONNECTED: "This is connected already; there is nothing left to do.",
    Step.CANCELLED: "This was cancelled, and nothing was kept. Start again to connect.",
    Step.EXPIRED: "The time for this is over, and nothing was kept. Start again to connect.",
}
BUSY: Final = "Something is still under way. Wait until it has ended."
NOT_NOW: Final = "That is not possible at this point. Here is where things stand now."
STALE: Final = "This was changed in another window. Here is where things stand now."
UNKNOWN_SYSTEM: Final = "That system cannot be connected here. Choose one from the list."
STILL_CLEANING: Final = "What was set up before is still being taken away. Try again in a minute."
CONSENT_USED: Final = (
    "This answer was used before, or is not the one that we wait for. Go back to the first window "
    "and ask for access again."
)
AWAY: Final = "Our service cannot be reached for the moment. Try again in a minute."
CONFIRM: Final = (
    "Go back to the window in which you began, and type this code there. It is for that window "
    "alone: tell it to nobody, and least of all to somebody who sent you a link to this."
)
INTERRUPTED: Final = Explanation(
    code="interrupted",
    what="We were interrupted before this was done.",
    why="A part of our service was restarted at that moment.",
    next="Try again. What you entered as a secret may have to be entered once more.",
    retry=True,
)


def denied(name: str, code: str) -> Explanation:
    """The customer, or somebody for him, has said no at the system."""
    if code in ("access_denied", "user_denied", "consent_denied"):
        return Explanation(
            code="consent_denied",
            what=f"Access to {name} was not allowed.",
            why="Somebody pressed Cancel, or your account may not allow it.",
            next="Ask for access again and allow it, or have an administrator do so.",
        )
    return Explanation(
        code="consent_failed",
        what=f"{name} did not give us access.",
        why="It reports a problem with the request, not with you.",
        next="Ask for access again. If it stays so, tell who gave you this page.",
    )


def consent_late(name: str) -> Explanation:
    """The way back took too long."""
    return Explanation(
        code="consent_late",
        what=f"The permission from {name} came too late.",
        why="It is good for a quarter of an hour after it was asked for.",
        next="Ask for access again.",
    )


def confirmed_late(name: str) -> Explanation:
    """The other window did not show what it should have within its time."""
    return Explanation(
        code="confirmed_late",
        what=f"The code from the window of {name} is too old.",
        why="It counts for five minutes.",
        next="Ask for access again.",
    )


def code_wrong(name: str) -> Explanation:
    """What was typed does not fit."""
    return Explanation(
        code="code_wrong",
        what="This is not the code that was shown.",
        why=f"There may be a typing mistake, or it is from another window of {name}.",
        next="Type the code once more, as the last window shows it.",
    )


def code_wrong_again(name: str) -> Explanation:
    """Too many tries."""
    return Explanation(
        code="code_wrong_again",
        what="The code was wrong too often, so it does not count any more.",
        why="This keeps out whoever tries all codes.",
        next=f"Ask for access again, and take the code that the window of {name} shows then.",
    )


def consent_interrupted(name: str) -> Explanation:
    """Nobody knows what became of the code."""
    return Explanation(
        code="interrupted",
        what=f"We were interrupted while {name} gave us access.",
        why="A part of our service was restarted at that moment.",
        next="Ask for access again.",
    )


def code_refused(name: str) -> Explanation:
    """The token endpoint has not taken the code."""
    return Explanation(
        code="code_refused",
        what=f"{name} did not accept the permission that it had given.",
        why="It counts once and for a short time; the page may have been opened twice.",
        next="Ask for access again.",
    )


def register_interrupted(name: str) -> Explanation:
    """The system may know the address, or not."""
    return Explanation(
        code="interrupted",
        what=f"We were interrupted while telling {name} where to send events.",
        why="A part of our service was restarted at that moment.",
        next=f"Try again. If {name} then lists our address twice, remove the older one.",
        retry=True,
    )


def no_signing_secret(name: str) -> Explanation:
    """It should have been in the answer."""
    return Explanation(
        code="secret_missing",
        what=f"{name} did not say how it signs its events.",
        why="It answered in another way than it is known to.",
        next="Go back and try again. If it stays so, tell who gave you this page.",
        retry=False,
    )


def not_arrived(system: System) -> Explanation:
    """No test event within its time."""
    by_hand = system.webhook.registration.how == "manual"
    return Explanation(
        code="not_arrived",
        what="No event has arrived yet.",
        why=f"{system.name} has not sent one, or sends it with another address"
        + (" or secret." if by_hand else "."),
        next="Do what is described here once more, then look again."
        + (" Compare the address and the secret that you pasted." if by_hand else ""),
        retry=True,
    )


def signature_wrong(system: System) -> Explanation:
    """A webhook came for the connection, and none of its secrets fits."""
    name, own = system.name, system.webhook.secret
    what = "An event came, but its signature does not fit."
    if system.webhook.registration.how != "manual" or own.source == "app":
        return Explanation(
            code="signature_wrong",
            what=what,
            why=f"{name} signs with another secret than the one that we know.",
            next="Go back and set it up once more. If it stays so, tell who gave you this page.",
            retry=True,
        )
    if own.source == "field":
        return Explanation(
            code="signature_wrong",
            what=what,
            why="The signing secret that was pasted here may be cut off, or an older one.",
            next=f"Copy the signing secret again in {name}, whole. Go back, and paste it here.",
            field=own.field or "",
            retry=True,
        )
    return Explanation(
        code="signature_wrong",
        what=what,
        why=f"The signing secret in {name} may be cut off, or an older one.",
        next=f"Go back, copy the signing secret again, and paste it in {name}. "
        f"Then have {name} send another event.",
        retry=True,
    )


def not_kept() -> Explanation:
    """The secret backend did not take it, or is away."""
    return Explanation(
        code="not_kept",
        what="We could not keep your credentials safe just now, so we did not keep them at all.",
        why="A part of our service is away.",
        next="Enter them again in a minute. If it stays so, tell who gave you this page.",
        retry=True,
    )


def not_set_up(name: str) -> Explanation:
    """Our user has not set something up that this system needs."""
    return Explanation(
        code="not_set_up",
        what=f"{name} cannot be connected here yet.",
        why="Something must be set up on our side first.",
        next="Tell who gave you this page; nothing you enter can change it.",
    )


def ours_failing() -> Explanation:
    """A part of ours did not do its work."""
    return Explanation(
        code="ours_failing",
        what="Something on our side did not work.",
        why="A part of our service is away or overloaded.",
        next="Try again in a minute. If it stays so, tell who gave you this page.",
        retry=True,
    )


def taken() -> Explanation:
    """The connection's name is somebody else's by now."""
    return Explanation(
        code="connection_taken",
        what="This was connected in another window meanwhile.",
        why="Two people, or two windows, were connecting the same thing.",
        next="Close this one. If nobody else connected it, tell who gave you this page.",
    )


def gateway_silent() -> Explanation:
    """Our gateway does not know the connection, or does not answer."""
    return Explanation(
        code="gateway_silent",
        what="We are not ready to receive your events yet.",
        why="A part of our service has not heard of your connection, or is away.",
        next="Try again in a minute. If it stays so, tell who gave you this page.",
        retry=True,
    )


def system_gone(system_id: str) -> Explanation:
    """Its entry was taken out of the catalogue in the middle of a flow."""
    return Explanation(
        code="system_gone",
        what="This system cannot be connected here any more.",
        why=f"{system_id} was taken out of the list meanwhile.",
        next="Cancel, and choose another one.",
    )
