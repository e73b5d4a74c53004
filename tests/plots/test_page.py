"""The page stands alone and shows what it was given, whatever the names."""

import base64
import re
from html.parser import HTMLParser

from alexnet.plots.page import Picture, page


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


PICTURES = [Picture("one", "One <script>alert(1)</script>", 'a "caption" & more', b"\x89PNG first")]


def test_pictures_are_inside_and_nothing_is_fetched() -> None:
    text = page("Inside", {"model": "caf\udce9"}, PICTURES, {"Another": "it needs <data>"})
    reader = read(text)
    (image,) = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,")) == b"\x89PNG first"
    assert image["alt"] == PICTURES[0].title
    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.tags}
    assert re.findall(r"https?:|//|url\(|@import", re.sub(r'src="data:[^"]*"', "", text)) == []
    assert "default-src 'none'" in text


def test_names_and_reasons_are_text_never_markup() -> None:
    reader = read(page("Inside", {"model": "caf\udce9"}, PICTURES, {"Another": "it needs <data>"}))
    assert "<script>alert(1)</script>" in reader.text
    assert 'a "caption" & more' in reader.text
    assert "Another: it needs <data>" in reader.text
    assert "caf?" in reader.text


def test_a_page_of_everything_has_no_list_of_what_is_not_there() -> None:
    assert "Not shown" not in page("Inside", {}, PICTURES, {})
    assert "Not shown" in page("Inside", {}, [], {"x": "y"})
