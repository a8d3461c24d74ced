"""
What does the OpenAPI document of this checkout say?

`python -m tests.app.api.openapi` writes the snapshot that the repository keeps.
"""

import json
import sys
import tempfile
from pathlib import Path

from app.api.main import create_app
from app.settings import Settings

SNAPSHOT = Path(__file__).with_name("openapi.json")


def current() -> str:
    """Write the document with default settings, as it is kept in the repository."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(_env_file=None, data_dir=Path(folder)))
        document = app.openapi()
        app.state.parts.db.close()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(current())
    sys.stdout.write(f"{SNAPSHOT.name} is written anew; read the difference before you commit it\n")
