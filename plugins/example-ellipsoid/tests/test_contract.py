from robustfw_ellipsoid import Ellipsoid

from robustfw.testing import parametrize_with_checks


@parametrize_with_checks(
    [Ellipsoid(), Ellipsoid(weights="border", cost=20), Ellipsoid(radius=0.3, cost=0)]
)
def test_contract(plugin, check):
    check(plugin)
