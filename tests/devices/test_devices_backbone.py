"""The shipped backbone model on a device."""

import pytest

pytest.importorskip("torch_geometric")


@pytest.mark.slow
def test_the_shipped_model_draws_and_learns_on_a_device(on_device):
    told = on_device("backbone_on_device.py")
    assert told["draws"]["difference"] < 1e-3 and told["learns"]["difference"] < 1e-2
    assert told["draws"]["syncs"] == 0.0
