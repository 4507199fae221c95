"""The README's Python runs as it stands, block after block, and gives the numbers that it promises."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_blocks_of_the_readme_run_in_order(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "(1000, 20)" in printed
    for number in re.findall(r"#.*?\b(\d+\.\d{6,})", "\n".join(blocks)):
        assert number in printed, f"README promises {number}, and prints {printed}"
    assert names["episode"].reward.shape == (10,)


def test_the_paths_and_modules_of_the_readme_exist():
    root = Path(__file__).parent.parent
    for path in re.findall(r"`((?:jaxdm|theory|experiments|figures)/[\w/.]*)`", README):
        assert (root / path).exists(), path
    for module in re.findall(r"python -m ([a-z.]+)", README):
        assert (root / module.replace(".", "/")).is_dir() or (root / f"{module.replace('.', '/')}.py").exists(), module
