import pytest

from s2change_plugin.engine.errors import S2ChangeError
from s2change_plugin.engine.findings import OK, STOP, WARNING, Finding, require_fit, worst


def test_the_gravest_finding_decides() -> None:
    light, grave = Finding("a", WARNING, "light"), Finding("b", STOP, "grave", "Do this.")
    assert worst([]) == OK
    assert worst([light, grave, Finding("c", OK, "well")]) == STOP
    require_fit([light])
    with pytest.raises(S2ChangeError, match=r"grave Do this\."):
        require_fit([light, grave])
