"""The page of a server: the one-file page's, asking the server."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browsers import browser, installed
from served import Served, encoded


def test_the_page_allows_its_own_script_and_server_alone(server: Served) -> None:
    answer = server.ask("GET", "/")
    policy, text = answer.headers["content-security-policy"], answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for each in (script, style):
        assert base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() in policy
    directives = dict(each.split(" ", 1) for each in policy.split("; "))
    assert directives["default-src"] == directives["frame-ancestors"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert "blob:" not in directives["script-src"]
    assert re.findall(r"https?://|src=|@import|url\(", text) == []
    assert json.loads(re.findall(r'id="card">(.*?)<', text)[0])["names"] == ["digit 0", "digit 1", "digit 2"]


@pytest.mark.slow
@pytest.mark.skipif(installed("chromium") is None, reason="no Chromium on this machine")
def test_a_browser_shows_what_the_server_answers(server: Served, photo: bytes, tmp_path: Path) -> None:
    files = [tmp_path / "photo.png", tmp_path / "words.jpg", tmp_path / "photo.tif"]
    files[0].write_bytes(photo)
    files[1].write_bytes(b"words")
    files[2].write_bytes(encoded(np.asarray(Image.open(files[0])), "TIFF"))
    with browser("chromium", camera=True, reach=f"127.0.0.1:{server.port}") as (driven, ears):
        driven.open(f"http://127.0.0.1:{server.port}/")
        assert driven.run("return alexnet.ready()") == "server"
        driven.give_files("#files", files)
        said = driven.run(
            "while (document.querySelectorAll('.result h3').length < 3) await new Promise((r) => setTimeout(r, 20));"
            "return [...document.querySelectorAll('.result')].map((each) => each.innerText);"
        )
        wanted = server.predict(photo).json()["predictions"]
        assert said[0].startswith("photo.png")
        assert all(guess["label"] in said[0] for guess in wanted)
        assert server.predict(b"words").json()["detail"] in said[1]
        assert "this browser cannot show the file" in said[2]
        assert all(guess["label"] in said[2] for guess in wanted)
        driven.run("document.getElementById('camera').click()")
        live = "while (!document.getElementById('live').textContent) await new Promise((r) => setTimeout(r, 20));"
        assert driven.run(f"{live} return document.getElementById('live').textContent")
        assert [call for call in ears.heard if "127.0.0.1" in call] == []
