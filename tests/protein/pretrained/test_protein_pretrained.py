"""The weights that ship are found by name, and a wrong name is answered with a near one."""

import pytest

from protein.pretrained import find_model
from sciddiff.errors import InputError
from sciddiff.shipped import shipped_models


def test_weights_load_by_name_and_by_path():
    ours = [model for model in shipped_models() if model.package == "protein"]
    if not ours:
        pytest.skip("the package is not installed, so its entry points are not known")
    for shipped in ours:
        by_name, by_path = find_model(shipped.name), find_model(str(shipped.directory))
        assert by_name.meta == by_path.meta
        assert by_name.meta["sha256"]
        assert "own_sha256" in by_name.meta, "take it with sciddiff.weights.seal"


def test_a_wrong_name_is_one_line(tmp_path):
    with pytest.raises(InputError, match="model liet: neither shipped nor a folder; did you mean"):
        find_model("liet")
    with pytest.raises(InputError, match=r"config\.yaml|meta\.json"):
        find_model(str(tmp_path))
