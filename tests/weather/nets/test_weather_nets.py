"""What every network on the sphere promises."""

import copy

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.state import Batch
from sciddiff.weights import fill

KINDS = ("unet", "sfno", "mesh")
# A turn about the axis that the network must follow exactly, in columns of 24: the U-Net's levels
# move in steps of two, the mesh is its own image after a third of a circle.
TURNS = {"unet": (2, 10), "sfno": (1, 7), "mesh": (8, 16)}


def _turn(arguments, k):
    x, t, batch = arguments
    turned = {name: field.roll(k, -1) for name, field in batch.cond.items()}
    return {"fields": x["fields"].roll(k, -1)}, t, Batch(x, turned)


@pytest.mark.parametrize("kind", KINDS)
def test_turned_inputs_give_the_turned_output(kind, make_net, make_inputs):
    net, arguments = make_net(kind), make_inputs()
    output = net(*arguments)["fields"]
    assert output.std() > 0.05
    for k in TURNS[kind]:
        turned = net(*_turn(arguments, k))["fields"]
        torch.testing.assert_close(turned, output.roll(k, -1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_network_says_zero(kind, make_net, make_inputs):
    output = make_net(kind, drawn=False)(*make_inputs())
    assert list(output) == ["fields"]
    assert torch.equal(output["fields"], torch.zeros(2, 4, 12, 24, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_a_batch_do_not_meet(kind, make_net, make_inputs):
    net, (x, t, batch) = make_net(kind), make_inputs(3)
    together = net(x, t, batch)["fields"]
    one = batch.select(torch.tensor([1]))
    alone = net({"fields": x["fields"][1:2]}, t[1:2], one)["fields"]
    torch.testing.assert_close(alone, together[1:2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_and_parameter_matters(kind, make_net, make_inputs):
    net, (x, t, batch) = make_net(kind), make_inputs()
    inputs = [x["fields"], t, batch.cond["history"], batch.cond["forcing"]]
    for tensor in inputs:
        tensor.requires_grad_()
    (net(x, t, batch)["fields"] ** 2).mean().backward()
    for tensor in inputs:
        assert tensor.grad is not None
    for tensor in (inputs[0], inputs[2], inputs[3]):
        # every channel, and every point of the grid
        assert (tensor.grad.abs().sum((0, -1, -2)) > 0).all()
        assert (tensor.grad.abs().flatten(0, -3).sum(0) > 0).all()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_from_one_network_to_another_and_copies_agree(kind, make_net, make_inputs):
    net, arguments = make_net(kind), make_inputs()
    output = net(*arguments)["fields"]
    other = make_net(kind, drawn=False)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(*arguments)["fields"], output)
    assert torch.equal(copy.deepcopy(net)(*arguments)["fields"], output)
    # geometry is made anew, not stored
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_while_training_only(kind, make_net, make_inputs):
    net, arguments = make_net(kind, dropout=0.5), make_inputs()
    assert torch.equal(net(*arguments)["fields"], net(*arguments)["fields"])
    net.train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert not torch.equal(net(*arguments)["fields"], net(*arguments)["fields"])


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near_single(kind, make_net, make_inputs):
    net = make_net(kind).float()
    x, t, batch = make_inputs()
    x = {"fields": x["fields"].float()}
    batch = Batch(x, {name: value.float() for name, value in batch.cond.items()})
    single = net(x, t.float(), batch)["fields"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net(x, t.float(), batch)["fields"]
    assert (half.float() - single).norm() < 0.05 * single.norm()


@pytest.mark.parametrize("kind", ["unet", "sfno"])
def test_signs_of_vectors_are_felt_next_to_the_poles_only(kind, make_net, make_inputs):
    """With one block or none the reach is short: mid-latitudes cannot see the sign."""
    settings = {"widths": (8,), "blocks": (0,)} if kind == "unet" else {"blocks": 0}
    arguments = make_inputs()
    with_signs, without = make_net(kind, **settings), make_net(kind, **settings)
    without.signs.fill_(1.0)
    # normalisation over the globe would carry the difference everywhere
    for net in (with_signs, without):
        net.norm = torch.nn.Identity()
    difference = (with_signs(*arguments)["fields"] - without(*arguments)["fields"]).abs()
    assert difference[..., 0, :].max() > 1e-3
    assert difference[..., -1, :].max() > 1e-3
    assert difference[..., 3:-3, :].max() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grid", ["equiangular-12x24", "regular-13x24"])
def test_other_grids_are_served(kind, grid, make_net, make_inputs):
    shape = (13, 24) if grid.startswith("regular") else (12, 24)
    net, arguments = make_net(kind, grid=grid), make_inputs(shape=shape)
    output = net(*arguments)["fields"]
    k = TURNS[kind][0]
    turned = net(*_turn(arguments, k))["fields"]
    torch.testing.assert_close(turned, output.roll(k, -1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["sfno", "mesh"])
def test_fields_on_another_grid_are_named(kind, make_net, make_inputs):
    with pytest.raises(InputError, match="the network is for gaussian-12x24"):
        make_net(kind)(*make_inputs(shape=(10, 20)))


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_channels_is_named(kind, make_net, make_inputs):
    x, t, batch = make_inputs()
    more = torch.cat([batch.cond["history"], batch.cond["history"][:, :1]], 1)
    words = r"4 channels, 3 frames and \d forcings: set net.channels 4, net.frames 3"
    with pytest.raises(InputError, match=words):
        make_net(kind)(x, t, Batch(x, {**batch.cond, "history": more}))


@pytest.mark.parametrize("kind", ["unet", "sfno"])
def test_a_wind_that_is_no_channel_is_named(kind, make_net):
    with pytest.raises(InputError, match="net.vectors: 5 is no position among 4 channels"):
        make_net(kind, vectors=(2, 5))


def test_longitudes_that_cannot_be_halved_are_named(make_net, make_inputs):
    with pytest.raises(InputError, match="22 longitudes; with 2 levels .* multiple of 4"):
        make_net("unet")(*make_inputs(shape=(12, 22)))


def test_bad_settings_of_the_mesh_are_named(make_net):
    with pytest.raises(InputError, match="heads: 3 do not divide the width 16"):
        make_net("mesh", heads=3)
    with pytest.raises(InputError, match="too many for gaussian-12x24"):
        make_net("mesh", refinement=4)


def test_attention_of_the_mesh_reaches_so_many_edges(make_net):
    near, far = make_net("mesh", hops=1), make_net("mesh", hops=0)
    assert far.mask is None
    assert near.mask.sum(1).min() == 6  # five neighbours and itself
    assert near.mask.sum(1).max() == 7


@pytest.mark.parametrize("kind", ["unet", "sfno", "mesh"])
def test_flow_maps_are_told_where_a_jump_ends(kind, make_net, make_inputs):
    """At first they say of every jump what the denoiser says; others refuse to jump."""
    plain, jumps = make_net(kind), make_net(kind, drawn=False, flow_map=True)
    other = fill(jumps, plain.state_dict(), strict=False)
    assert other and all(name.startswith("span") for name in other)
    x, t, batch = make_inputs()
    end = torch.ones_like(t)
    with torch.no_grad():
        said = plain(x, t, batch)["fields"]
        assert torch.equal(jumps(x, t, batch, until=end)["fields"], said)
        torch.nn.init.normal_(jumps.span.layers[-1].weight)
        assert not torch.allclose(jumps(x, t, batch, until=end)["fields"], said)
    with pytest.raises(InputError, match="the network is no flow map"):
        plain(x, t, batch, until=end)
