"""``python -m yfccdask``."""

from yfccdask.cli.group import main

main(prog_name="yfccdask")
