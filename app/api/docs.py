"""How does a person read the interface in a browser, where nothing outside can be reached?"""

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
ASSETS = "/docs-assets"
"""Swagger UI from an installed package; FastAPI's own page would fetch it from a CDN."""


def install(app: FastAPI) -> None:
    """Serve the page and all that it loads. Paths are relative, for proxies that add a prefix."""
    folder = Path(fastapi_offline.__file__).parent / "static"
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f".{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f".{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f".{ASSETS}/favicon.png",
    )

    @app.get(PAGE, include_in_schema=False)
    def show() -> HTMLResponse:
        return page

    app.mount(ASSETS, StaticFiles(directory=folder))
