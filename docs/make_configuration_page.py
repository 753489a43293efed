"""Writes ``docs/configuration.md`` from the schema: ``python docs/make_configuration_page.py``."""

from __future__ import annotations

from pathlib import Path

from yfccdask.config.text import schema_page

if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(schema_page(), encoding="utf-8")
