"""Does a scan write its report in the form, the language and under the name that were asked for?"""

import json
from pathlib import Path

import pytest

from app.domain.words import Language
from app.views import ScanView
from tests.app.report.make_reports import make_full_judged
from tests.make import PNG
from workers.scan import Scanned, form_of, report_paths


def scanned(name: str = "clips/clip.mp4") -> Scanned:
    judged = make_full_judged()
    return Scanned(
        view=ScanView.of_judged(name, judged),
        pictures=None,
        judged=judged,
        pngs={a.id: PNG for a in judged.artifacts},
    )


@pytest.mark.parametrize("language", Language)
def test_each_form_is_written_as_its_name_ends(tmp_path: Path, language: Language) -> None:
    for ending in ("html", "PDF", "json"):
        scanned().write_report(tmp_path / f"r.{ending}", language=language)

    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f'<html lang="{language.value}">' in page
    assert "<bdi>clip.mp4</bdi></h1>" in page
    assert page.count("data:image/png") == 3
    assert (tmp_path / "r.PDF").read_bytes().startswith(b"%PDF-")
    body = json.loads((tmp_path / "r.json").read_bytes())
    assert body["language"] == language.value
    assert "link" not in body["frames"][0]["picture"]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    scanned().write_report(tmp_path / "a" / "b" / "r.json", language=Language.ENGLISH)

    assert (tmp_path / "a" / "b" / "r.json").is_file()


def test_several_files_have_numbers_and_one_has_the_name_itself() -> None:
    assert report_paths(Path("a/r.pdf"), 1) == [Path("a/r.pdf")]
    assert report_paths(Path("a/r.pdf"), 3) == [Path(f"a/r-{n}.pdf") for n in (1, 2, 3)]


@pytest.mark.parametrize("name", ["r", "r.docx", "html", "r.html.zip"])
def test_a_form_that_there_is_not_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        form_of(Path(name))
