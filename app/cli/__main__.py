"""What does `python -m app.cli` run? The same as `deepverdict`."""

from app.cli import main

main()
