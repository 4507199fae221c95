"""Figures and the report, drawn from stored results alone.

Every module here beside `style` and `report` has `draw(results: Path) -> list[Drawn]`: the figures of one experiment,
none where its results are missing. A module may name the command that makes its results in `COMMAND`; else it is
`python -m experiments.<module>`.
"""
