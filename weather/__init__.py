"""The home of the weather adapter: global forecasting on the shared core.

Nothing is implemented here yet; the package is installed so that its name, its extra
(``pip install 'sciddiff[weather]'``) and the architecture tests are in place before its code.
A forecast state is one `sciddiff.state.State` leaf per variable, ``[B, channel, lat, lon]``,
each with a `sciddiff.paths.GaussianPath`; everything generic already lives in ``sciddiff``.
"""
