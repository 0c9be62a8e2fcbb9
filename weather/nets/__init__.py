"""Networks on the sphere, behind one interface: see `weather.nets.unet.SphericalUNet`."""
