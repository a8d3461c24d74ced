"""Is the form that a caller likes best the one that is chosen?"""

import pytest

from app.api.negotiation import preferred

OFFERED = ("application/json", "text/html", "application/pdf")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], "application/json"),
        ([""], "application/json"),
        (["*/*"], "application/json"),
        (["text/*"], "text/html"),
        (["application/*"], "application/json"),
        (["TEXT/HTML"], "text/html"),
        (["application/pdf;q=0.5, text/html;q=0.4"], "application/pdf"),
        (["application/pdf; version=1.7; q=0.5"], "application/pdf"),
        (["text/html;q=0.1", "application/pdf;q=0.2"], "application/pdf"),
        (["application/json;q=0, */*;q=0.1"], "text/html"),
        (["*/*;q=0"], None),
        (["image/png"], None),
        (["garbage, text/html"], "text/html"),
        (["garbage"], None),
        ([";q=1,,,"], None),
        (["text/html;q=9"], "text/html"),
        (["x/y," * 10_000 + "text/html"], None),
    ],
)
def test_the_closest_range_decides_and_the_first_of_equals(
    accept: list[str], chosen: str | None
) -> None:
    assert preferred(accept, OFFERED) == chosen
