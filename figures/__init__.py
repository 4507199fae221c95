"""Figures and the report, drawn from stored results alone.

Every module here beside `style`, `selection` and `report` has `draw(shown: Sequence[Result]) -> list[Drawn]`: the
figures of one experiment from those of its results that are shown, none where there is none. A module may name the
command that makes its results in `COMMAND`; else it is `python -m experiments.<module>`.
"""
