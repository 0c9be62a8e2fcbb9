"""The core on a device: right values, no waiting in a step, few launches."""

import pytest

ROTATION_LAUNCHES = 160  # of one step of one leaf of rotations


@pytest.fixture(scope="module")
def cases(on_device):
    return on_device("core_on_device.py")


@pytest.mark.slow
def test_a_device_gives_what_the_processor_gives(cases):
    assert len(cases) > 100
    wrong = {name: case for name, case in cases.items() if not case["difference"] < 1e-3}
    assert not wrong


@pytest.mark.slow
def test_no_step_waits_for_the_device(cases):
    waiting = {name: case for name, case in cases.items() if case["syncs"] > 0.0}
    assert not waiting


@pytest.mark.slow
def test_no_step_sends_constants_to_the_device(cases):
    sending = {
        name: case for name, case in cases.items()
        if case["copies"] > 0.0 and "posterior" not in name
    }  # fmt: skip
    assert not sending
    observed = [case["copies"] for name, case in cases.items() if "posterior" in name]
    assert max(observed) <= 1.0  # the level of noise that the observations are weighed against


@pytest.mark.slow
def test_a_step_is_few_launches(cases):
    assert cases["flat | ddim | plain"]["launches"] <= 20
    assert cases["turns | ddim | plain"]["launches"] <= 120
    assert cases["rotations | ddim | plain"]["launches"] <= ROTATION_LAUNCHES
