"""The page is self-contained and shows every string it is given as text."""

import base64
import re
from html.parser import HTMLParser

import pytest

from alexnet.plots.page import Picture, Sheet, Table, Thumbnail, page


class Reader(HTMLParser):
    """Collects tags, attributes and text; asserts that every element is closed."""

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


PICTURE = Picture("one", "One <script>alert(1)</script>", 'a "caption" & more', b"\x89PNG first")
TABLE = Table("two", "Two", ["arm", "test <error>"], [["a", "1 & 2"], ["b", "3"]], ["a <note>"])
WHOLE = page(
    "Inside",
    [PICTURE, TABLE],
    lead=["a <lead>"],
    findings=["a <finding>"],
    facts={"model": "caf\udce9"},
    left_out={"Another": "it needs <data>"},
    notes=["small <print>"],
)


def test_images_are_embedded_and_nothing_is_fetched_or_run() -> None:
    (image,) = [attributes for tag, attributes in read(WHOLE).tags if tag == "img"]
    assert base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,")) == b"\x89PNG first"
    assert image["alt"] == PICTURE.title
    assert not {"script", "link", "iframe"} & {tag for tag, _ in read(WHOLE).tags}
    assert re.findall(r"https?:|//|url\(|@import", re.sub(r'src="data:[^"]*"', "", WHOLE)) == []
    (policy,) = [attributes for _, attributes in read(WHOLE).tags if "http-equiv" in attributes]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    "text",
    [
        *("<script>alert(1)</script>", 'a "caption" & more', "Another: it needs <data>", "caf?"),
        *("test <error>", "1 & 2", "a <note>", "a <lead>", "a <finding>", "small <print>"),
    ],
)
def test_every_string_is_escaped(text: str) -> None:
    assert text in read(WHOLE).text


def test_a_table_has_its_heading_and_rows_in_order() -> None:
    cells = [tag for tag, _ in read(page("T", [TABLE])).tags if tag in ("th", "td", "tr")]
    assert cells == ["tr", "th", "th", "tr", "td", "td", "tr", "td", "td"]


def test_the_contents_link_to_every_section_once_there_are_two() -> None:
    reader = read(WHOLE)
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert links == [f"#{attributes['id']}" for tag, attributes in reader.tags if tag == "section"] == ["#one", "#two"]
    assert "Contents" not in page("T", [TABLE])


def test_optional_parts_appear_only_when_given() -> None:
    bare = read(page("Inside", []))
    assert not {"table", "nav", "section", "ul", "p"} & {tag for tag, _ in bare.tags}
    assert "Not shown" not in bare.text
    assert "Not shown" in page("Inside", [], left_out={"x": "y"})


def test_a_contact_sheet_has_its_text_and_its_thumbnails_embedded() -> None:
    sheet = Sheet("s", "A <sheet>", ["do <this>"], ["one & two"], [Thumbnail("cat/<0>.jpg", b"\xff\xd8 first")])
    reader = read(page("T", [sheet]))
    (image,) = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert base64.b64decode(str(image["src"]).removeprefix("data:image/jpeg;base64,")) == b"\xff\xd8 first"
    for text in ("A <sheet>", "do <this>", "one & two", "cat/<0>.jpg"):
        assert text in reader.text
