"""The plane of the flow figure: its slice, chart and field against h itself, and its tables against what they show."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from analyses import flow_plane
from analyses.flow_plane import FlowPlaneConfig
from analyses.geometry.plane import Slice
from tests.problems import random_quadratic


@pytest.fixture(params=[0, 1, 2])
def setting(request):
    h = random_quadratic(9, request.param, curvature=6.0, slope=3.0)
    start = 5 * torch.randn(9, generator=torch.Generator().manual_seed(9 + request.param), dtype=torch.float64)
    return h, start, Slice.through(h, start)


def grid() -> torch.Tensor:
    return 2 * torch.randn(40, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64).clamp(-0.7, 0.7)


def test_the_slice_holds_start_gradient_and_ceiling(setting):
    h, start, plane = setting
    torch.testing.assert_close(plane.axes @ plane.axes.mT, torch.eye(3, dtype=torch.float64))
    for x in (start, h.gradient(start), ode.ceiling(h).point):
        torch.testing.assert_close((plane.axes @ x) @ plane.axes, x)
    # the start in the middle, the gradient to the right, the ceiling above
    xy, off = plane.chart(torch.stack([start, start + 1e-6 * h.gradient(start), ode.ceiling(h).point]))
    assert xy[0].norm() < 1e-12
    assert xy[1, 0] > 0
    assert abs(float(xy[1, 1])) < 1e-12
    assert xy[2, 1] > 0
    assert off.max() < 1e-7


def test_on_the_slice_h_is_the_restricted_quadratic(setting):
    h, _, plane = setting
    y = plane.point(grid())
    torch.testing.assert_close(plane.restrict(h).value(y), h.value(y @ plane.axes))


def test_the_chart_keeps_angles_from_the_start_and_inverts(setting):
    _, start, plane = setting
    xy = grid()
    a = 7 * plane.point(xy) @ plane.axes
    back, off = plane.chart(a)
    torch.testing.assert_close(back, xy)
    assert off.max() < 1e-7
    cosine = a @ start / a.norm(dim=-1) / start.norm()
    torch.testing.assert_close(xy.norm(dim=-1), cosine.clamp(-1, 1).acos())


def test_off_is_the_angle_to_the_slice(setting):
    _, start, plane = setting
    outside = torch.randn(9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outside -= (plane.axes @ outside) @ plane.axes
    a = start / start.norm() + 0.3 * outside / outside.norm()
    assert float(plane.chart(a)[1]) == pytest.approx(torch.atan(torch.tensor(0.3)).item(), rel=1e-6)


def test_the_field_in_the_chart_is_what_moving_along_it_does(setting):
    h, _, plane = setting
    xy, flat, step = grid(), plane.restrict(h), 1e-6
    y = plane.point(xy)
    v = flat.gradient(y)
    moved = (plane.chart((y + sign * step * v) @ plane.axes)[0] for sign in (1, -1))
    torch.testing.assert_close(plane.velocity(xy, v), torch.sub(*moved) / (2 * step), rtol=1e-5, atol=1e-6)


def test_a_linear_barrier_spans_no_slice():
    b = torch.randn(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    linear = ode.QuadraticBarrier(torch.zeros(9, 9), b)
    with pytest.raises(ValueError, match="h is linear"):
        Slice.through(linear, torch.ones(9, dtype=torch.float64))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    config = FlowPlaneConfig(out=tmp_path_factory.mktemp("odesteer_kernel") / "out", pairs=60, prompts=9, grid=11)
    flow_plane.main(config)
    names = ("grid", "plane", "best", "marks")
    return config, {name: pd.read_parquet(config.out / f"{name}.parquet") for name in names}


def test_no_path_passes_the_bound_or_the_ceiling(tables):
    config, found = tables
    best, plane, marks = found["best"], found["plane"], found["marks"].set_index("mark")
    assert marks.loc["ceiling", "h"] >= plane["h"].max() - 1e-9
    # the bound at the next larger angle of its grid holds for every smaller one
    at = best["angle"].searchsorted(plane["angle"].clip(upper=config.angle) - 1e-9)
    assert (plane["h"].to_numpy() <= best["bound"].to_numpy()[at] + 1e-9).all()
    assert (best["h"] <= best["bound"] + 1e-9).all()


def test_verdicts_agree_with_h_along_the_step(tables):
    plane = tables[1]["plane"]
    for (_, _), step in plane.groupby(["method", "step"]):
        rises = step["h"].diff().dropna()
        if step["verdict"].iloc[0] == "certified":
            assert (rises > -1e-9).all()
    assert (plane.query("method == 'certified'")["verdict"] != "refuted").all()
    # 2 rad along one circle overshoots the top of it
    assert plane.query("method == 'odesteer_kernel, one step'")["verdict"].unique() == ["refuted"]
    start = plane.groupby("method").head(1)
    assert start["angle"].abs().max() < 1e-9
    assert start["h"].max() == pytest.approx(tables[1]["marks"]["h"][0], abs=1e-4)


def test_the_run_is_recorded_and_not_overwritten(tables):
    config, _ = tables
    run = json.loads((config.out / "run.json").read_text())
    assert run["layer"] == config.layer
    assert run["model"]["d_model"] == 128
    with pytest.raises(ValueError, match="not overwritten"):
        flow_plane.main(replace(config, seed=1))
