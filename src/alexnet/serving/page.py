"""The page of a server: that of `alexnet export --format html`, which asks the server where the other computes."""

from alexnet.data.form import PAD_COLOR
from alexnet.data.images.facts import ONE_COLOR
from alexnet.export.frame import SEEN, Words, policy, printable, render, text, title_of
from alexnet.serving.process import ModelCard

SCRIPTS = ("server.js", "page.js")
WORDS = Words(
    noscript="This page asks its server with JavaScript, which is off here; turn it on for this page.",
    where="Photos are sent to the server that this page came from and to nobody else; it keeps none. "
    "What is shown here is forgotten when the page is closed.",
)


def served_page(card: ModelCard) -> tuple[str, str]:
    """The page as HTML text, and its content security policy as a header, which also forbids frames around it."""
    script, style = "".join(map(text, SCRIPTS)), text("page.css")
    allowed = policy(script, style, asks=True)
    told = {
        "names": card.class_names,
        "fit": card.fit,
        "border": list(PAD_COLOR),
        "blank": ONE_COLOR,
        "engine": {"input": card.input_size, "maps": [1, 1]},
    }
    page = render(
        policy=allowed,
        title=title_of(card.class_names),
        names=[printable(name) for name in card.class_names],
        seen=SEEN[card.fit],
        told=_told(card),
        origin=f"Network {card.network}; served by alexnet.",
        card=told,
        script=script,
        style=style,
        words=WORDS,
    )
    return page, f"{allowed}; frame-ancestors 'none'"


def _told(card: ModelCard) -> str:
    """What is said of its answers."""
    calibrated = "Its percentages are calibrated. " if card.calibrated else ""
    if card.unknown:
        return f"{calibrated}It says where a picture looks like none of its classes."
    return f"{calibrated}It knows its classes alone: of any other picture it names the class that comes nearest."
